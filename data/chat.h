// Conversations as tokens, in the format that a model was trained with. The format is told from the
// chat template of the model's vocabulary: ChatML, that of Llama 2 or that of Llama 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace gradwire {

struct ChatMessage {
  std::string role;  // "system", which comes first if at all, "user" or "assistant"
  std::string content;
};

struct ChatTokens {
  std::vector<std::int32_t> ids;
  // Of each id, whether it is part of an answer: what the assistant says, and the token that ends
  // it. A token with text of both belongs to the answer.
  std::vector<bool> is_answer;
};

class ChatFormat {
 public:
  enum class Kind { kChatMl, kLlama2, kLlama3 };

  // Of a vocabulary, which must outlive it. Errors: kData, naming the file, for one without a chat
  // template, for a template that says anything but these formats, and for one whose special tokens
  // are missing from the vocabulary.
  static ChatFormat of(const Tokenizer& tokenizer);

  Kind kind() const noexcept { return kind_; }
  // The ids that the template gives when its text is encoded, except that special tokens are never
  // read out of a message. With `asks`, the beginning of an answer follows, for a model to go on
  // from. Errors: kData for a role that is none, a system message that is not the first, no
  // message; for Llama 2 also for users and assistants that do not take turns, the user first.
  ChatTokens tokens(std::span<const ChatMessage> messages, bool asks) const;

 private:
  ChatFormat(const Tokenizer& tokenizer, Kind kind) : tokenizer_(&tokenizer), kind_(kind) {}

  const Tokenizer* tokenizer_;
  Kind kind_;
  std::string
      usual_system_;  // of ChatML, for a conversation that does not begin with one; may be empty
};

// The tokens of a prompt and its completion, which is the answer: bos if texts of the vocabulary
// begin with it, both texts encoded as one, and eos, which the vocabulary must have.
ChatTokens completion_tokens(const Tokenizer& tokenizer, const std::string& prompt,
                             const std::string& completion);

}  // namespace gradwire
