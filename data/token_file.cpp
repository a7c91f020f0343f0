#include "data/token_file.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "data/tokenizer.h"

namespace gradwire {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr std::int64_t kAnswersVersion = 2;  // of files that have answers, and of no others
constexpr std::int64_t kChunkTokens = 1 << 14;
constexpr std::int64_t kChunkOffsets = 1 << 11;
constexpr std::int64_t kBufferTokens = 1 << 16;

GrowingLayout token_layout(std::int64_t vocabulary) {
  GrowingLayout layout;
  layout.dtype = DType::kI32;
  layout.chunk_elements = kChunkTokens;
  layout.stored_as_u16 = vocabulary <= 1 << 16;
  return layout;
}

GrowingLayout offset_layout() {
  GrowingLayout layout;
  layout.dtype = DType::kI64;
  layout.chunk_elements = kChunkOffsets;
  return layout;
}

GrowingLayout answer_layout() {
  GrowingLayout layout;
  layout.dtype = DType::kU8;
  layout.chunk_elements = kChunkTokens;
  return layout;
}

// Of ids, and of answers behind it if there are any.
std::string hash_text(const Hasher& ids, const Hasher* answers) {
  const std::string text = to_hex(ids.digest());
  return answers == nullptr ? text : text + "-" + to_hex(answers->digest());
}

const std::int32_t* outside(std::span<const std::int32_t> ids, std::int64_t vocabulary) {
  const auto bad = std::find_if(
      ids.begin(), ids.end(), [vocabulary](std::int32_t id) { return id < 0 || id >= vocabulary; });
  return bad == ids.end() ? nullptr : &*bad;
}

}  // namespace

TokenFileWriter::TokenFileWriter(const std::string& path, const TokenFileInfo& info)
    : pending_(path), info_(info), file_(Hdf5File::create(pending_.temporary())) {
  if (info.vocabulary < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: a vocabulary of {}", path, info.vocabulary));
  }
  tokens_.emplace(file_.create_growing("tokens", token_layout(info.vocabulary)));
  offsets_.emplace(file_.create_growing("offsets", offset_layout()));
  offsets_->add({&tokens_written_, 1});
  if (!info.has_answers) return;
  answers_.emplace(file_.create_growing("answers", answer_layout()));
  answer_counts_.emplace(file_.create_growing("answer_counts", offset_layout()));
}

void TokenFileWriter::add_sample(std::span<const std::int32_t> ids,
                                 std::span<const std::uint8_t> answers) {
  check(answers_.has_value() && answers.size() == ids.size(), ErrorKind::kUsage,
        "token file: answers that are not those of its tokens");
  const std::int64_t count = std::count(answers.begin(), answers.end(), std::uint8_t{1});
  check(count > 0 && answers.front() == 0, ErrorKind::kUsage,
        "token file: a sample without an answer that can be predicted");
  add_document(ids);
  answers_->add(answers);
  answers_hasher_.add(std::as_bytes(answers));
  answer_counts_->add({&count, 1});
  answers_written_ += count;
}

void TokenFileWriter::add_document(std::span<const std::int32_t> ids) {
  if (const std::int32_t* bad = outside(ids, info_.vocabulary)) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: document {}: token id {} outside the vocabulary of {}",
                            pending_.path(), documents_, *bad, info_.vocabulary));
  }
  tokens_->add(ids);
  hasher_.add(std::as_bytes(ids));
  tokens_written_ += static_cast<std::int64_t>(ids.size());
  offsets_->add({&tokens_written_, 1});
  ++documents_;
}

void TokenFileWriter::finish(const SampleCounts& counts) {
  tokens_->flush();
  offsets_->flush();
  if (info_.has_answers) {
    answers_->flush();
    answer_counts_->flush();
    file_.set_attribute("answer_tokens", answers_written_);
    file_.set_attribute("samples_truncated", counts.truncated);
    file_.set_attribute("samples_left_out", counts.left_out);
  }
  file_.set_attribute("format_version", info_.has_answers ? kAnswersVersion : kFormatVersion);
  file_.set_attribute("vocabulary", info_.vocabulary);
  file_.set_attribute("tokenizer_hash", to_hex(info_.tokenizer_hash));
  file_.set_attribute("tokens", tokens_written_);
  file_.set_attribute("documents", documents_);
  file_.set_attribute("tokens_hash",
                      hash_text(hasher_, info_.has_answers ? &answers_hasher_ : nullptr));
  file_.flush();
  tokens_.reset();
  offsets_.reset();
  answers_.reset();
  answer_counts_.reset();
  file_.close();
  pending_.publish();
}

TokenFile::TokenFile(Hdf5File file, Hdf5Dataset tokens, Hdf5Dataset offsets)
    : file_(std::move(file)), tokens_(std::move(tokens)), offsets_(std::move(offsets)) {}

TokenFile TokenFile::open(const std::string& path, std::optional<std::uint64_t> tokenizer_hash) {
  Hdf5File file = Hdf5File::open(path);
  const auto refuse = [&path](const std::string& what) {
    return Error(ErrorKind::kData, fmt::format("{}: {}", path, what));
  };
  if (!file.has_attribute("format_version")) throw refuse("not a token file");
  const std::int64_t version = file.int_attribute("format_version");
  if (version != kFormatVersion && version != kAnswersVersion) {
    throw refuse(fmt::format("token file of version {}; this program reads {} and {}", version,
                             kFormatVersion, kAnswersVersion));
  }
  Hdf5Dataset tokens = file.dataset("tokens");
  Hdf5Dataset offsets = file.dataset("offsets");
  TokenFile out(std::move(file), std::move(tokens), std::move(offsets));
  out.info_.vocabulary = out.file_.int_attribute("vocabulary");
  if (out.info_.vocabulary < 1 || out.info_.vocabulary > kMostPieces) {
    throw refuse(
        fmt::format("a vocabulary of {}, not of 1 to {}", out.info_.vocabulary, kMostPieces));
  }
  const std::string made_with = out.file_.string_attribute("tokenizer_hash");
  out.info_.tokenizer_hash = std::strtoull(made_with.c_str(), nullptr, 16);
  if (tokenizer_hash && *tokenizer_hash != out.info_.tokenizer_hash) {
    throw refuse(fmt::format("made with another tokenizer: {} asked for, {} found",
                             to_hex(*tokenizer_hash), printable_word(made_with)));
  }
  if (out.tokens_.shape().rank() != 1 || out.tokens_.dtype() != DType::kI32 ||
      out.offsets_.shape().rank() != 1 || out.offsets_.dtype() != DType::kI64 ||
      out.offsets_.rows() < 1) {
    throw refuse("tokens or offsets of another shape or type than a token file has");
  }
  const std::int64_t counted_tokens = out.file_.int_attribute("tokens");
  const std::int64_t counted_documents = out.file_.int_attribute("documents");
  if (counted_tokens != out.tokens() || counted_documents != out.documents()) {
    throw refuse(fmt::format("{} tokens in {} documents written, {} in {} found", counted_tokens,
                             counted_documents, out.tokens(), out.documents()));
  }
  out.check_offsets();
  if (version == kAnswersVersion) {
    out.info_.has_answers = true;
    out.answers_.emplace(out.file_.dataset("answers"));
    out.check_answers();
  }
  return out;
}

void TokenFile::check_offsets() const {
  std::vector<std::int64_t> part;
  std::int64_t before = 0;
  for (std::int64_t begin = 0; begin < offsets_.rows(); begin += kBufferTokens) {
    part.resize(static_cast<std::size_t>(std::min(kBufferTokens, offsets_.rows() - begin)));
    offsets_.read_rows(begin, static_cast<std::int64_t>(part.size()), part.data());
    for (std::size_t i = 0; i < part.size(); ++i) {
      const bool first = begin == 0 && i == 0;
      if (part[i] < before || part[i] > tokens() || (first && part[i] != 0)) {
        throw Error(ErrorKind::kData,
                    fmt::format("{}: offset {} is {} after {}, of {} tokens", path(),
                                begin + static_cast<std::int64_t>(i), part[i], before, tokens()));
      }
      before = part[i];
    }
  }
  if (before != tokens()) {
    throw Error(ErrorKind::kData, fmt::format("{}: the last document ends at {} of {} tokens",
                                              path(), before, tokens()));
  }
}

// The counts alone: the answers themselves are checked as they are read.
void TokenFile::check_answers() const {
  const auto refuse = [this](const std::string& what) {
    return Error(ErrorKind::kData, fmt::format("{}: {}", path(), what));
  };
  if (answers_->shape().rank() != 1 || answers_->dtype() != DType::kU8 ||
      answers_->rows() != tokens()) {
    throw refuse("answers of another shape or type than a token file has");
  }
  const std::vector<std::int64_t> counts = answer_counts(), begins = offsets();
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::int64_t length = begins[i + 1] - begins[i];
    if (counts[i] < 1 || counts[i] >= length) {
      throw refuse(fmt::format("sample {} has {} answers among {} tokens", i, counts[i], length));
    }
    sum += counts[i];
  }
  if (sum != answer_tokens()) {
    throw refuse(fmt::format("{} answers written, {} found", answer_tokens(), sum));
  }
}

SampleCounts TokenFile::sample_counts() const {
  return {file_.int_attribute("samples_truncated"), file_.int_attribute("samples_left_out")};
}

std::vector<std::int64_t> TokenFile::offsets() const {
  std::vector<std::int64_t> out(static_cast<std::size_t>(offsets_.rows()));
  offsets_.read_rows(0, offsets_.rows(), out.data());
  return out;
}

std::vector<std::int64_t> TokenFile::answer_counts() const {
  std::vector<std::int64_t> out(static_cast<std::size_t>(documents()));
  file_.read("answer_counts", DType::kI64, {documents()}, out.data());
  return out;
}

void TokenFile::read_answers(std::int64_t begin, std::span<std::uint8_t> out) const {
  check(info_.has_answers, ErrorKind::kUsage, "token file: no answers in it");
  answers_->read_rows(begin, static_cast<std::int64_t>(out.size()), out.data());
  const auto bad = std::find_if(out.begin(), out.end(), [](std::uint8_t a) { return a > 1; });
  if (bad != out.end()) {
    throw Error(ErrorKind::kData, fmt::format("{}: token {} has {} for an answer, not 0 or 1",
                                              path(), begin + (bad - out.begin()), *bad));
  }
}

void TokenFile::read(std::int64_t begin, std::span<std::int32_t> out) const {
  tokens_.read_rows(begin, static_cast<std::int64_t>(out.size()), out.data());
  if (const std::int32_t* bad = outside(out, info_.vocabulary)) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: token {} has the id {}, outside the vocabulary of {}", path(),
                            begin + (bad - out.data()), *bad, info_.vocabulary));
  }
}

std::pair<std::int64_t, std::int64_t> TokenFile::document(std::int64_t i) const {
  std::array<std::int64_t, 2> ends{};
  offsets_.read_rows(i, 2, ends.data());
  return {ends[0], ends[1]};
}

void TokenFile::verify() const {
  std::vector<std::int32_t> part;
  std::vector<std::uint8_t> answers;
  Hasher hasher, answers_hasher;
  for (std::int64_t begin = 0; begin < tokens(); begin += kBufferTokens) {
    part.resize(static_cast<std::size_t>(std::min(kBufferTokens, tokens() - begin)));
    read(begin, part);
    hasher.add(std::as_bytes(std::span(part)));
    if (!info_.has_answers) continue;
    answers.resize(part.size());
    read_answers(begin, answers);
    answers_hasher.add(std::as_bytes(std::span(answers)));
  }
  const std::string written = tokens_hash();
  const std::string found = hash_text(hasher, info_.has_answers ? &answers_hasher : nullptr);
  if (found != written) {
    throw Error(ErrorKind::kData, fmt::format("{}: the tokens hash to {}, written was {}", path(),
                                              found, printable_word(written)));
  }
}

}  // namespace gradwire
