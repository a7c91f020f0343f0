// A sample to fine-tune on as tokens, with the tokens that count as answers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "data/chat.h"
#include "data/sample_files.h"
#include "data/tokenizer.h"

namespace gradwire {

struct SampleConfig {
  SampleFormat format = SampleFormat::kChat;
  // Of a sample, one more than the context of the model: the last token is only predicted.
  std::int64_t most_tokens = 0;
  bool truncates = false;  // longer samples lose their end; otherwise they are refused
};

class SampleEncoder {
 public:
  // The vocabulary must outlive it. Errors: kData for a vocabulary without what the format needs:
  // a chat template (data/chat.h), or a token for the end of a text.
  SampleEncoder(const Tokenizer& tokenizer, const SampleConfig& config);

  // Nothing for a sample of which no answer is left after truncation. Never is the first token an
  // answer, since nothing predicts it. Errors: kData for a sample that is too long, and those of
  // ChatFormat::tokens().
  std::optional<ChatTokens> encode(std::span<const ChatMessage> sample);
  std::int64_t truncated() const noexcept { return truncated_; }  // those left out among them
  std::int64_t left_out() const noexcept { return left_out_; }

 private:
  const Tokenizer& tokenizer_;
  SampleConfig config_;
  std::optional<ChatFormat> chat_;
  std::int64_t truncated_ = 0;
  std::int64_t left_out_ = 0;
};

}  // namespace gradwire
