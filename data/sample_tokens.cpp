#include "data/sample_tokens.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, const SampleConfig& config)
    : tokenizer_(tokenizer), config_(config) {
  check(config.most_tokens >= 2, ErrorKind::kUsage, "samples: of less than 2 tokens");
  if (config.format == SampleFormat::kChat) {
    chat_ = ChatFormat::of(tokenizer);
  } else if (tokenizer.eos_id() < 0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: the vocabulary has no token for the end of a text (eos)",
                            tokenizer.path()));
  }
}

std::optional<ChatTokens> SampleEncoder::encode(std::span<const ChatMessage> sample) {
  ChatTokens out = chat_ ? chat_->tokens(sample, /*asks=*/false)
                         : completion_tokens(tokenizer_, sample[0].content, sample[1].content);
  if (std::ssize(out.ids) > config_.most_tokens) {
    if (!config_.truncates) {
      throw Error(ErrorKind::kData,
                  fmt::format("a sample of {} tokens; at most {} fit into the context "
                              "(data.context; data.too_long = \"truncate\" cuts such samples)",
                              out.ids.size(), config_.most_tokens));
    }
    out.ids.resize(static_cast<std::size_t>(config_.most_tokens));
    out.is_answer.resize(out.ids.size());
    ++truncated_;
  }
  out.is_answer.front() = false;
  if (std::ranges::find(out.is_answer, true) != out.is_answer.end()) return out;
  ++left_out_;
  return std::nullopt;
}

}  // namespace gradwire
