#include <charconv>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <sentencepiece_trainer.h>

#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer.h"

namespace gradwire {
namespace {

// SentencePiece leaves out what is longer than this.
constexpr std::size_t kMaxSentenceBytes = 4000;

// The non-empty lines of all documents, long ones cut at a space or at a character, about every
// n-th of them. An error of the source ends the iteration and is thrown when the trainer has
// returned.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  Sentences(DocumentSource& documents, std::uint64_t every) : documents_(documents), every_(every) {
    Next();
  }
  bool done() const override { return done_; }
  const std::string& value() const override { return sentence_; }
  // Asked when the trainer has read all: it then gives up, and the error is rethrown.
  sentencepiece::util::Status status() const override {
    if (!failure_) return {};
    return {sentencepiece::util::StatusCode::kCancelled, "the source of the text failed"};
  }
  std::int64_t count() const { return count_; }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  void Next() override {
    try {
      do
        advance();
      while (!done_ && !is_chosen());
    } catch (...) {
      failure_ = std::current_exception();
      done_ = true;
    }
    if (!done_) ++count_;
  }

 private:
  // By chance: texts have periods of their own.
  bool is_chosen() { return !sentence_.empty() && derive_seed(0, lines_++) % every_ == 0; }

  void advance() {
    while (at_ >= document_.size()) {
      at_ = 0;
      if (!documents_.next(document_)) {
        done_ = true;
        return;
      }
    }
    std::size_t end = std::min(document_.find('\n', at_), document_.size());
    std::size_t rest = end + 1;
    if (end - at_ > kMaxSentenceBytes) {
      end = document_.rfind(' ', at_ + kMaxSentenceBytes);
      if (end == std::string::npos || end <= at_) {
        end = at_ + kMaxSentenceBytes;
        while ((static_cast<unsigned char>(document_[end]) & 0xC0u) == 0x80u)
          --end;
      }
      rest = end;
    }
    sentence_ = document_.substr(at_, end - at_);
    at_ = rest;
  }

  DocumentSource& documents_;
  std::uint64_t every_;
  std::uint64_t lines_ = 0;
  std::string document_;
  std::size_t at_ = 0;
  std::string sentence_;
  std::int64_t count_ = 0;
  bool done_ = false;
  std::exception_ptr failure_;
};

// SentencePiece says of a text that is too small which vocabulary it would do for.
std::string too_large(const TokenizerConfig& config, std::int64_t lines, std::string_view why) {
  constexpr std::string_view kLimit = "set it to a value <= ";
  std::string text = fmt::format("tokenizer: a {} vocabulary of {} cannot be made of {} lines",
                                 name_of(config.kind), config.vocabulary, lines);
  const std::size_t at = why.find(kLimit);
  std::int64_t most = 0;
  if (at != std::string_view::npos) {
    std::from_chars(why.data() + at + kLimit.size(), why.data() + why.size(), most);
  }
  if (most <= 0) return fmt::format("{}: {}", text, why);
  return fmt::format("{}: {} is the most this text gives; lower data.vocab_size, or use more text",
                     text, most);
}

}  // namespace

std::string train_tokenizer(const TokenizerConfig& config, DocumentSource& documents) {
  const std::int64_t limit = std::max<std::int64_t>(1, config.max_training_bytes);
  const std::int64_t every = std::max<std::int64_t>(1, (documents.bytes() + limit - 1) / limit);
  Sentences sentences(documents, static_cast<std::uint64_t>(every));
  sentences.rethrow();
  check(!sentences.done(), ErrorKind::kData, "tokenizer: no text to train on");
  // The number of threads is part of the result: it cuts the sums of the unigram model.
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", name_of(config.kind)},
      {"vocab_size", std::to_string(config.vocabulary)},
      {"character_coverage", "0.9999"},
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"split_digits", "true"},
      {"num_threads", "2"},
      {"max_sentence_length", std::to_string(kMaxSentenceBytes + 8)},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"minloglevel", "4"},
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &sentences, &model);
  sentences.rethrow();
  if (!status.ok()) {
    throw Error(ErrorKind::kData, too_large(config, sentences.count(), status.error_message()));
  }
  return model;
}

}  // namespace gradwire
