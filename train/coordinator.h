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
  // Every rank's text, in order of rank. Collective and bounded: Error(kComm) if a rank is lost.
  virtual std::vector<std::string> all_gather(const std::string& mine) = 0;
  // What `work` gives on every rank, in order of rank; it must not throw. However long it takes on
  // one of them, the others wait, as long as that one's process lives: bounded is only the silence
  // of a process, not its work. Collective.
  virtual std::vector<std::string> all_gather_after(const std::function<std::string()>& work) {
    return all_gather(work());
  }
  // Every rank's text, in order of rank, on rank 0; nothing on the others. For long texts: each
  // travels once, so that what a rank other than the first sends and holds does not grow with the
  // number of ranks. Collective and bounded as all_gather() is.
  virtual std::vector<std::string> gather(const std::string& mine) = 0;
  // To be called before a rank throws what all ranks throw (comm/common_error.h). Collective.
  virtual void wait_before_common_error() noexcept {}
};

class SingleRank final : public Coordinator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::vector<std::string> all_gather(const std::string& mine) override { return {mine}; }
  std::vector<std::string> gather(const std::string& mine) override { return {mine}; }
};

// Called on another thread, with the reason, if the world fails while this rank is still at work:
// it may end the process, whose work nobody waits for any more.
using LostAtWork = std::function<void(const std::string& why)>;

// Over a group of its own of all ranks of a communicator, which must outlive it: work may use the
// communicator itself. Texts travel as bytes in tensors of `cx`. Collective.
std::unique_ptr<Coordinator> make_coordinator(Context& cx, Communicator& comm,
                                              LostAtWork lost_at_work = {});

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
