// Token ids of a corpus in an HDF5 file: one stream `tokens` (16 bits an id if the vocabulary
// allows) and `offsets`, where each document begins in it, plus the end. The file knows its format
// version, its vocabulary, its tokenizer and the hash of its tokens. If its documents are samples
// to fine-tune on, it also has `answers`, 1 for each token that counts as an answer and 0 for
// others, and `answer_counts`, how many of them each sample has. Neither side holds more than a
// bounded buffer, whatever the size of the corpus.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/hash.h"
#include "data/hdf5.h"

namespace gradwire {

struct TokenFileInfo {
  std::int64_t vocabulary = 0;       // V: ids are in [0, V)
  std::uint64_t tokenizer_hash = 0;  // Tokenizer::hash()
  bool has_answers = false;
};

// What became of samples that did not fit into the context.
struct SampleCounts {
  std::int64_t truncated = 0;
  std::int64_t left_out = 0;  // of those, the ones without an answer afterwards: not in the file
};

// A growing dataset filled through a buffer, so that short documents cost no call to HDF5 each.
template <class T>
class TokenColumn {
 public:
  explicit TokenColumn(Hdf5Dataset data) : data_(std::move(data)) {}
  void add(std::span<const T> values) {
    buffer_.insert(buffer_.end(), values.begin(), values.end());
    if (buffer_.size() >= kBuffer) flush();
  }
  void flush() {
    data_.append(static_cast<std::int64_t>(buffer_.size()), buffer_.data());
    buffer_.clear();
  }

 private:
  static constexpr std::size_t kBuffer = 1 << 16;
  Hdf5Dataset data_;
  std::vector<T> buffer_;
};

// The file appears under its name with finish(), and not at all if that is not reached.
class TokenFileWriter {
 public:
  // Errors: kUsage for a vocabulary below 1; kIo.
  TokenFileWriter(const std::string& path, const TokenFileInfo& info);

  // Errors: kData for an id outside the vocabulary; kIo, for example if the disk is full.
  void add_document(std::span<const std::int32_t> ids);
  // The same with answers, 0 or 1 by token; of a file that has answers, every document is added so.
  // Errors: kUsage for a sample without an answer after its first token, or with one there.
  void add_sample(std::span<const std::int32_t> ids, std::span<const std::uint8_t> answers);
  std::int64_t tokens() const noexcept { return tokens_written_; }
  std::int64_t documents() const noexcept { return documents_; }
  void finish(const SampleCounts& counts = {});

 private:
  PendingFile pending_;
  TokenFileInfo info_;
  Hdf5File file_;
  std::optional<TokenColumn<std::int32_t>> tokens_;
  std::optional<TokenColumn<std::int64_t>> offsets_;
  std::optional<TokenColumn<std::uint8_t>> answers_;
  std::optional<TokenColumn<std::int64_t>> answer_counts_;
  Hasher hasher_, answers_hasher_;
  std::int64_t tokens_written_ = 0;
  std::int64_t documents_ = 0;
  std::int64_t answers_written_ = 0;
};

class TokenFile {
 public:
  // Checks versions, counts and offsets, not the tokens. If a tokenizer is named, the file must
  // be made with it. Errors: kIo if there is no such file; kData, saying what is wrong with it.
  static TokenFile open(const std::string& path,
                        std::optional<std::uint64_t> tokenizer_hash = std::nullopt);

  const std::string& path() const noexcept { return file_.path(); }
  std::int64_t tokens() const noexcept { return tokens_.rows(); }
  std::int64_t documents() const noexcept { return offsets_.rows() - 1; }
  std::int64_t vocabulary() const noexcept { return info_.vocabulary; }
  std::uint64_t tokenizer_hash() const noexcept { return info_.tokenizer_hash; }
  // As written with the tokens; verify() compares it with them.
  // Of answers, if there are any, too.
  std::string tokens_hash() const { return file_.string_attribute("tokens_hash"); }
  bool has_answers() const noexcept { return info_.has_answers; }
  // Of a file that has answers. Errors: kData, kUsage.
  std::int64_t answer_tokens() const { return file_.int_attribute("answer_tokens"); }
  SampleCounts sample_counts() const;
  // As read(), 0 or 1 by token.
  void read_answers(std::int64_t begin, std::span<std::uint8_t> out) const;
  // How many answers each document has. Takes memory for all of them.
  std::vector<std::int64_t> answer_counts() const;

  // Ids [begin, begin + out.size()) of the stream. Errors: kUsage outside of it; kData if the
  // file is damaged or holds an id outside the vocabulary.
  void read(std::int64_t begin, std::span<std::int32_t> out) const;
  // Begin and end of document i in the stream.
  std::pair<std::int64_t, std::int64_t> document(std::int64_t i) const;
  // Where each document begins, and the end of the last. Takes memory for all of them.
  std::vector<std::int64_t> offsets() const;
  // Reads everything and compares the hash. Errors: kData.
  void verify() const;

 private:
  TokenFile(Hdf5File file, Hdf5Dataset tokens, Hdf5Dataset offsets);
  void check_offsets() const;
  void check_answers() const;

  Hdf5File file_;
  Hdf5Dataset tokens_;
  Hdf5Dataset offsets_;
  std::optional<Hdf5Dataset> answers_;
  TokenFileInfo info_;
};

}  // namespace gradwire
