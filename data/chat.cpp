#include "data/chat.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "data/chat_template.h"
#include "data/tokenizers/characters.h"

namespace gradwire {
namespace {

using Part = TemplatePart;
using Kind = TemplatePart::Kind;

// What a format's template may say, and what it must say among it.
struct Vocabulary {
  std::vector<Part> must, may;
};

// The condition under which a ChatML template writes a system message by itself.
const Part kWithoutSystem{Kind::kStatement, "ifloop.firstandmessages[0]['role']!='system'"};

Vocabulary words_of(ChatFormat::Kind kind) {
  const Part loop{Kind::kStatement, "formessageinmessages"}, end{Kind::kStatement, "endfor"},
      done{Kind::kStatement, "endif"}, asks{Kind::kStatement, "ifadd_generation_prompt"},
      role{Kind::kValue, "message['role']"};
  const Part unset{Kind::kStatement, "ifnotadd_generation_promptisdefined"},
      set{Kind::kStatement, "setadd_generation_prompt=false"};
  const Part others{Kind::kStatement, "setloop_messages=messages"},
      loop_others{Kind::kStatement, "formessageinloop_messages"};
  switch (kind) {
    case ChatFormat::Kind::kChatMl:
      return {{loop,
               {Kind::kText, "<|im_start|>"},
               role,
               {Kind::kText, "\n"},
               {Kind::kValue, "message['content']"},
               {Kind::kText, "<|im_end|>\n"},
               end},
              {done, asks, unset, set, {Kind::kText, "<|im_start|>assistant\n"}, kWithoutSystem}};
    case ChatFormat::Kind::kLlama3:
      return {{others,
               loop_others,
               {Kind::kStatement,
                "setcontent='<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'"
                "+message['content']|trim+'<|eot_id|>'"},
               {Kind::kStatement, "ifloop.index0==0"},
               {Kind::kStatement, "setcontent=bos_token+content"},
               {Kind::kValue, "content"},
               end},
              {done,
               asks,
               unset,
               set,
               {Kind::kText, "<|start_header_id|>assistant<|end_header_id|>\n\n"}}};
    case ChatFormat::Kind::kLlama2: break;
  }
  return {
      {{Kind::kStatement, "ifmessages[0]['role']=='system'"},
       {Kind::kStatement, "setloop_messages=messages[1:]"},
       {Kind::kStatement, "setsystem_message=messages[0]['content']"},
       loop_others,
       {Kind::kStatement, "ifloop.index0==0andsystem_message!=false"},
       {Kind::kStatement,
        "setcontent='<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']"},
       {Kind::kStatement, "setcontent=message['content']"},
       {Kind::kStatement, "ifmessage['role']=='user'"},
       {Kind::kValue, "bos_token"},
       {Kind::kText, "[INST] "},
       {Kind::kValue, "content.strip()"},
       {Kind::kText, " [/INST]"},
       {Kind::kText, " "},
       {Kind::kValue, "eos_token"},
       end},
      {done,
       others,
       {Kind::kStatement, "else"},
       {Kind::kStatement, "setsystem_message=false"},
       {Kind::kStatement, "if(message['role']=='user')!=(loop.index0%2==0)"},
       {Kind::kValue,
        "raise_exception('Conversation roles must alternate user/assistant/user/assistant/...')"},
       {Kind::kStatement, "elifmessage['role']=='assistant'"}}};
}

bool has(const std::vector<Part>& parts, const Part& part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

// The system message that a ChatML template writes by itself; empty for other texts.
std::string usual_system(const Part& part) {
  constexpr std::string_view kBegin = "<|im_start|>system\n", kEnd = "<|im_end|>\n";
  const std::string_view text = part.text;
  if (part.kind != Kind::kText || text.size() < kBegin.size() + kEnd.size()) return {};
  if (!text.starts_with(kBegin) || !text.ends_with(kEnd)) return {};
  return part.text.substr(kBegin.size(), text.size() - kBegin.size() - kEnd.size());
}

// The text of one encoding between special tokens, with the byte at which an answer begins in it.
struct Run {
  std::string text;
  std::size_t answer = std::string::npos;
};

// Without space around it, as strip() of Python and trim of Jinja have it.
std::string stripped(const std::string& text) {
  const std::vector<Character> all = characters_of(text);
  const auto stays = [](const Character& c) {
    const bool separator = c.code >= 0x1C && c.code <= 0x1F;
    return c.kind != CharacterKind::kSpace && !separator;
  };
  const auto first = std::find_if(all.begin(), all.end(), stays);
  if (first == all.end()) return {};
  const auto end = std::find_if(all.rbegin(), all.rend(), stays).base();
  return text.substr(first->begin, (end == all.end() ? text.size() : end->begin) - first->begin);
}

class Writer {
 public:
  explicit Writer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void text(const std::string& text, bool answer = false) {
    if (answer && run_.answer == std::string::npos) run_.answer = run_.text.size();
    run_.text += text;
  }
  void token(std::int32_t id, bool answer = false) {
    finish_run();
    out_.ids.push_back(id);
    out_.is_answer.push_back(answer);
  }
  void token(const char* written, bool answer = false) { token(tokenizer_.find(written), answer); }
  ChatTokens finish() {
    finish_run();
    return std::move(out_);
  }

 private:
  void finish_run() {
    const std::vector<std::int32_t> ids = tokenizer_.encode(run_.text);
    std::size_t before = ids.size();  // tokens that have nothing of the answer
    if (run_.answer != std::string::npos) {
      const std::vector<std::int32_t> prompt =
          tokenizer_.encode(std::string_view(run_.text).substr(0, run_.answer));
      before = static_cast<std::size_t>(
          std::mismatch(prompt.begin(), prompt.end(), ids.begin(), ids.end()).first -
          prompt.begin());
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      out_.ids.push_back(ids[i]);
      out_.is_answer.push_back(i >= before);
    }
    run_ = {};
  }

  const Tokenizer& tokenizer_;
  Run run_;
  ChatTokens out_;
};

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kData, why);
}

void check_roles(std::span<const ChatMessage> messages, bool take_turns) {
  if (messages.empty()) refuse("a conversation without a message");
  const std::size_t first = messages.front().role == "system" ? 1 : 0;
  for (std::size_t i = first; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "system")
      refuse(fmt::format("message {} is the system's; only the first may be", i + 1));
    if (role != "user" && role != "assistant") {
      refuse(fmt::format("message {} has the role '{}'; system, user and assistant are known",
                         i + 1, printable_word(role, 64)));
    }
    const char* const turn = (i - first) % 2 == 0 ? "user" : "assistant";
    if (take_turns && role != turn) {
      refuse(fmt::format("message {} is of '{}', but it is the turn of '{}'", i + 1, role, turn));
    }
  }
  if (take_turns && first == messages.size()) refuse("a system message with no user's message");
}

void write_chat_ml(Writer& out, std::span<const ChatMessage> messages, const std::string& usual,
                   bool asks) {
  const auto write = [&](const ChatMessage& message) {
    const bool answer = message.role == "assistant";
    out.token("<|im_start|>");
    out.text(message.role + "\n");
    out.text(message.content, answer);
    out.token("<|im_end|>", answer);
    out.text("\n");
  };
  if (!usual.empty() && messages.front().role != "system") write({"system", usual});
  for (const ChatMessage& message : messages)
    write(message);
  if (!asks) return;
  out.token("<|im_start|>");
  out.text("assistant\n");
}

void write_llama3(Writer& out, std::span<const ChatMessage> messages, std::int32_t bos, bool asks) {
  const auto begin = [&](const std::string& role) {
    out.token("<|start_header_id|>");
    out.text(role);
    out.token("<|end_header_id|>");
    out.text("\n\n");
  };
  out.token(bos);
  for (const ChatMessage& message : messages) {
    const bool answer = message.role == "assistant";
    begin(message.role);
    out.text(stripped(message.content), answer);
    out.token("<|eot_id|>", answer);
  }
  if (asks) begin("assistant");
}

void write_llama2(Writer& out, std::span<const ChatMessage> messages,
                  const SpecialTokens& special) {
  std::string system;
  if (messages.front().role == "system") {
    system = "<<SYS>>\n" + messages.front().content + "\n<</SYS>>\n\n";
    messages = messages.subspan(1);
  }
  for (const ChatMessage& message : messages) {
    if (message.role == "user") {
      out.token(special.bos);
      out.text("[INST] " + stripped(std::exchange(system, {}) + message.content) + " [/INST]");
    } else {
      out.text(" " + stripped(message.content) + " ", /*answer=*/true);
      out.token(special.eos, /*answer=*/true);
    }
  }
}

}  // namespace

ChatFormat ChatFormat::of(const Tokenizer& tokenizer) {
  const auto fail = [&](const std::string& why) {
    refuse(fmt::format("{}: {}", tokenizer.path(), why));
  };
  const std::string& jinja = tokenizer.chat_template();
  if (jinja.empty()) fail("the vocabulary has no chat template");
  const std::vector<Part> parts = parts_of_template(jinja);
  const bool chat_ml = jinja.find("<|im_start|>") != std::string::npos;
  const bool llama3 = jinja.find("<|start_header_id|>") != std::string::npos;
  ChatFormat format(tokenizer, chat_ml  ? ChatFormat::Kind::kChatMl
                               : llama3 ? ChatFormat::Kind::kLlama3
                                        : ChatFormat::Kind::kLlama2);
  const Vocabulary words = words_of(format.kind_);
  for (const Part& part : parts) {
    if (chat_ml && format.usual_system_.empty()) format.usual_system_ = usual_system(part);
    const bool usual = chat_ml && !usual_system(part).empty();
    if ((usual && has(parts, kWithoutSystem)) || has(words.must, part) || has(words.may, part))
      continue;
    fail(fmt::format("the chat template is none of ChatML, Llama 2 and Llama 3: it says '{}'",
                     printable_word(part.text, 128)));
  }
  for (const Part& part : words.must)
    if (!has(parts, part)) {
      fail(fmt::format(
          "the chat template is none of ChatML, Llama 2 and Llama 3: it does not say '{}'",
          printable_word(part.text, 128)));
    }
  std::vector<const char*> tokens;
  if (chat_ml) tokens = {"<|im_start|>", "<|im_end|>"};
  if (!chat_ml && llama3) tokens = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"};
  for (const char* written : tokens)
    if (tokenizer.find(written) < 0) fail(fmt::format("the vocabulary has no token '{}'", written));
  if (!chat_ml && tokenizer.bos_id() < 0)
    fail("the chat template writes bos, which the vocabulary has not");
  if (!chat_ml && !llama3 && tokenizer.eos_id() < 0) {
    fail("the chat template writes eos, which the vocabulary has not");
  }
  return format;
}

ChatTokens ChatFormat::tokens(std::span<const ChatMessage> messages, bool asks) const {
  check_roles(messages, /*take_turns=*/kind_ == Kind::kLlama2);
  Writer out(*tokenizer_);
  switch (kind_) {
    case Kind::kChatMl: write_chat_ml(out, messages, usual_system_, asks); break;
    case Kind::kLlama2: write_llama2(out, messages, tokenizer_->special()); break;
    case Kind::kLlama3: write_llama3(out, messages, tokenizer_->bos_id(), asks); break;
  }
  return out.finish();
}

ChatTokens completion_tokens(const Tokenizer& tokenizer, const std::string& prompt,
                             const std::string& completion) {
  const SpecialTokens& special = tokenizer.special();
  Writer out(tokenizer);
  if (special.adds_bos) out.token(special.bos);
  out.text(prompt);
  out.text(completion, /*answer=*/true);
  out.token(special.eos, /*answer=*/true);
  return out.finish();
}

}  // namespace gradwire
