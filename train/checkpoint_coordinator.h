// What checkpoints need of the ranks: to hear a short text from each. Keeps the files' logic free
// of any transport, so that it is tested with threads and with one process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/context.h"

namespace gradwire {

class Coordinator {
 public:
  virtual ~Coordinator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Every rank's text, in order of rank. Collective and bounded: Error(kComm) where a rank is lost.
  virtual std::vector<std::string> all_gather(const std::string& mine) = 0;
  // Every rank's text, in order of rank, on rank 0; nothing on the others. For long texts: each
  // travels once, so that what a rank other than the first sends and holds does not grow with the
  // number of ranks. Collective and bounded as all_gather() is.
  virtual std::vector<std::string> gather(const std::string& mine) = 0;
};

class SingleRank final : public Coordinator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::vector<std::string> all_gather(const std::string& mine) override { return {mine}; }
  std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
};

// Over a communicator, which must outlive it. Texts travel as bytes in tensors of `cx`.
std::unique_ptr<Coordinator> make_coordinator(Context& cx, Communicator& comm);

// Runs `work` on every rank and gives every rank's text; if it threw on any of them, throws on all
// with every rank's reason: Error(kIo) if the file system failed on any, else Error(kCheckpoint).
// What the transport throws passes through.
std::vector<std::string> all_or_none(Coordinator& ranks, const std::function<std::string()>& work);

// The same for long texts: gives every rank's text on rank 0, and nothing on the others.
std::vector<std::string> all_or_none_to_first(Coordinator& ranks,
                                              const std::function<std::string()>& work);

// A text's lines.
std::vector<std::string> lines_of(const std::string& text);

}  // namespace gradwire
