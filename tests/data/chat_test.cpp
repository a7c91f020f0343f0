// Conversations as tokens beside those of the packages jinja2 and tokenizers
// (golden/make_chats.py).
#include "data/chat.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/chat_template.h"
#include "tests/data/temp_folder.h"
#include "tests/support/damage.h"

namespace gradwire {
namespace {

using nlohmann::json;
using testing_data::expect_error;
using testing_data::slurp;
using testing_data::TempFolder;

std::string golden(const std::string& name) {
  return std::string(GW_TEST_DATA "/golden/") + name;
}

// The vocabulary of golden/chat.json with a chat template.
class Chat : public ::testing::Test {
 protected:
  Chat() { folder_.write("tokenizer.json", slurp(golden("chat.json"))); }
  std::unique_ptr<const Tokenizer> with(const std::string& jinja) const {
    const json settings = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"chat_template", jinja}};
    folder_.write("tokenizer_config.json", settings.dump());
    return Tokenizer::load(folder_.path());
  }
  void expect_refusal(const std::string& jinja, const std::vector<std::string>& said) const {
    expect_error(ErrorKind::kData, said, [&] { ChatFormat::of(*with(jinja)); });
  }

  TempFolder folder_;
};

constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ "
    "'<|im_end|>' + '\\n'}}{% endfor %}";

std::vector<ChatMessage> messages_of(const json& entry) {
  std::vector<ChatMessage> messages;
  for (const json& message : entry["messages"])
    messages.push_back({message["role"], message["content"]});
  return messages;
}

std::string answers_in(const Tokenizer& tokenizer, const ChatTokens& tokens) {
  std::string text;
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    if (!tokens.is_answer[i]) continue;
    const std::string bytes = tokenizer.bytes_of(tokens.ids[i]);
    text += bytes.empty() ? "|" : bytes;  // special tokens give no text
  }
  return text;
}

TEST_F(Chat, GivesTheIdsOfTheTemplates) {
  int checked = 0;
  for (const json& entry : json::parse(slurp(golden("chats.json")))) {
    const auto tokenizer = with(entry["template"]);
    const ChatFormat format = ChatFormat::of(*tokenizer);
    const ChatTokens tokens = format.tokens(messages_of(entry), entry["asks"]);
    EXPECT_EQ(tokens.ids, entry["ids"].get<std::vector<std::int32_t>>()) << entry;
    EXPECT_EQ(tokens.is_answer.size(), tokens.ids.size());
    ++checked;
  }
  EXPECT_EQ(checked, 24);
}

TEST_F(Chat, AnswersAreWhatTheAssistantSaysAndItsEnd) {
  const auto tokenizer = with(kChatMl);
  const ChatFormat format = ChatFormat::of(*tokenizer);
  EXPECT_EQ(format.kind(), ChatFormat::Kind::kChatMl);
  const std::vector<ChatMessage> said = {
      {"user", "12"}, {"assistant", "34"}, {"user", "5"}, {"assistant", "ok"}};
  EXPECT_EQ(answers_in(*tokenizer, format.tokens(said, false)), "34|ok|");
  EXPECT_EQ(answers_in(*tokenizer, format.tokens(std::span(said).first(1), true)), "");
}

TEST_F(Chat, SpecialTokensAreNotReadOutOfMessages) {
  const auto tokenizer = with(kChatMl);
  const ChatTokens tokens =
      ChatFormat::of(*tokenizer).tokens(std::vector<ChatMessage>{{"user", "<|im_end|>"}}, false);
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), tokenizer->find("<|im_end|>")), 1);
}

TEST_F(Chat, OtherTemplatesAreRefusedByWhatTheySay) {
  const std::string whole = kChatMl;
  expect_refusal("", {"tokenizer.json", "no chat template"});
  expect_refusal(whole + "{{ tools | tojson }}",
                 {"none of ChatML, Llama 2 and Llama 3", "'tools|tojson'"});
  expect_refusal(whole + "<|end|>", {"says '<|end|>'"});
  expect_refusal("{% for message in messages %}<|im_start|>{% endfor %}",
                 {"does not say 'message['role']'"});
  expect_refusal("<|im_start|>system\nHi<|im_end|>\n" + whole,
                 {"it says '<|im_start|>system\\x0aHi"});
  expect_refusal("{% for", {"a tag is not closed"});
  expect_refusal("{{ 'a }}", {"a quote is not closed"});
}

TEST_F(Chat, ConversationsThatMakeNoSenseAreErrors) {
  const auto refused = [](const ChatFormat& format, const std::vector<ChatMessage>& said,
                          const char* why) {
    expect_error(ErrorKind::kData, {why}, [&] { format.tokens(said, false); });
  };
  const auto tokenizer = with(kChatMl);
  const ChatFormat format = ChatFormat::of(*tokenizer);
  refused(format, {}, "without a message");
  refused(format, {{"user", "a"}, {"system", "b"}}, "message 2 is the system's");
  refused(format, {{"tool\x1b", "a"}}, "message 1 has the role 'tool\\x1b'");
  const json chats = json::parse(slurp(golden("chats.json")));
  const auto other = with(chats.back()["template"]);
  const ChatFormat llama2 = ChatFormat::of(*other);
  EXPECT_EQ(llama2.kind(), ChatFormat::Kind::kLlama2);
  refused(llama2, {{"assistant", "a"}}, "message 1 is of 'assistant'");
  refused(llama2, {{"system", "a"}}, "no user's message");
  refused(llama2, {{"system", "a"}, {"user", "a"}, {"user", "a"}}, "the turn of 'assistant'");
}

TEST_F(Chat, DamagedTemplatesAreReadOrRefused) {
  const json chats = json::parse(slurp(golden("chats.json")));
  for (const std::size_t entry : {std::size_t{6}, chats.size() - 1}) {
    const test::Outcomes outcomes =
        test::read_damaged(chats[entry]["template"], 3000, 11,
                           [](const std::string& jinja) { parts_of_template(jinja); });
    EXPECT_GT(outcomes.read, 0);
    EXPECT_GT(outcomes.refused, 0);
  }
}

}  // namespace
}  // namespace gradwire
