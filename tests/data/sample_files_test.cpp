#include "data/sample_files.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "data/sample_tokens.h"
#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::slurp;
using testing_data::TempFolder;

class Samples : public ::testing::Test {
 protected:
  SampleFiles files(const std::string& content, SampleFormat format) const {
    return SampleFiles({{folder_.write("a.jsonl", content)}, format, /*max_line_bytes=*/200});
  }
  void expect_refusal(SampleFormat format, const std::string& line, const std::string& why) const {
    const std::string good = format == SampleFormat::kChat
                                 ? R"({"messages":[{"role":"assistant","content":"x"}]})"
                                 : R"({"prompt":"x","completion":"y"})";
    SampleFiles samples = files(good + "\n\n" + line + "\n", format);
    std::vector<ChatMessage> sample;
    ASSERT_TRUE(samples.next(sample));
    expect_error(ErrorKind::kData, {"a.jsonl:3: " + why}, [&] { samples.next(sample); });
  }
  TempFolder folder_;
};

constexpr SampleFormat kPairs = SampleFormat::kPromptCompletion;
constexpr SampleFormat kChats = SampleFormat::kChat;

TEST_F(Samples, LinesOfSeveralFilesInOrder) {
  SampleFiles samples(
      {{folder_.write("a",
                      "\xEF\xBB\xBF{\"prompt\":\"a\\n\",\"completion\":\"b\",\"id\":[1]}\r\n \n"),
        folder_.write("b", "\n{\"completion\":\"\\u00e9\",\"prompt\":\"\"}")},
       kPairs});
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<ChatMessage> sample;
    ASSERT_TRUE(samples.next(sample));
    ASSERT_EQ(sample.size(), 2U);
    EXPECT_EQ(sample[0].role + sample[0].content, "prompta\n");
    EXPECT_EQ(sample[1].role + sample[1].content, "completionb");
    ASSERT_TRUE(samples.next(sample));
    EXPECT_EQ(sample[0].content, "");
    EXPECT_EQ(sample[1].content, "\xC3\xA9");
    EXPECT_EQ(samples.place(), folder_.file("b") + ":2");
    EXPECT_FALSE(samples.next(sample));
    EXPECT_EQ(samples.samples(), 2);
    samples.rewind();
  }
}

TEST_F(Samples, LinesThatAreNoSampleAreRefusedByNumber) {
  expect_refusal(kPairs, "{\"prompt\": \"x\"", "no JSON from byte 15 on");
  expect_refusal(kPairs, "{\"prompt\": \"\xFF\"}", "no JSON from byte 13 on");
  expect_refusal(kPairs, "[]", "no JSON object");
  expect_refusal(kPairs, R"({"prompt": "x"})", "no \"completion\" in it");
  expect_refusal(kPairs, R"({"prompt": 1, "completion": "y"})", "\"prompt\" is no text");
  expect_refusal(kPairs, R"({"prompt": "x", "completion": ""})", "\"completion\" is empty");
  expect_refusal(kPairs, R"({"prompt": "x", "completion": "a\u0000"})",
                 "a zero byte in \"completion\"");
  expect_refusal(kPairs, std::string(201, ' '), "a line of more than 200 bytes");
  expect_refusal(kChats, "{}", "no \"messages\" in it");
  expect_refusal(kChats, R"({"messages": "x"})", "\"messages\" is no list");
  expect_refusal(kChats, R"({"messages": ["x"]})", "message 1 is no object");
  expect_refusal(kChats, R"({"messages": [{"role": "user"}]})", "no \"content\" in it");
  expect_refusal(kChats, R"({"messages": [{"role": "user", "content": "x"}]})",
                 "no message of the role \"assistant\"");
  expect_refusal(kChats, std::string(100, '['), "no JSON from byte 101 on");
}

TEST_F(Samples, FilesWithoutASampleAreRefused) {
  SampleFiles samples = files("\n \n", kPairs);
  std::vector<ChatMessage> sample;
  expect_error(ErrorKind::kData, {"a.jsonl: no sample in it"}, [&] { samples.next(sample); });
  expect_error(ErrorKind::kIo, {"missing"}, [&] {
    SampleFiles({{folder_.file("missing")}, kPairs});
  });
}

// Whatever becomes of the bytes, lines are samples or are refused.
TEST_F(Samples, DamagedLinesAreReadOrRefused) {
  const std::string good =
      R"({"messages":[{"role":"user","content":"a\u00e9"},{"role":"assistant","content":"b"}]})"
      "\n";
  int read = 0, refused = 0;
  for (std::uint64_t i = 0; i < 600; ++i) {
    std::string damaged = good;
    damaged[random_word(3, 2 * i) % damaged.size()] =
        static_cast<char>(random_word(3, 2 * i + 1) % 256);
    SampleFiles samples = files(damaged, kChats);
    std::vector<ChatMessage> sample;
    try {
      while (samples.next(sample))
        ++read;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kData) << e.what();
      ++refused;
    }
  }
  EXPECT_GT(read, 10);
  EXPECT_GT(refused, 100);
}

class SampleTokens : public Samples {
 protected:
  SampleTokens() {
    folder_.write("tokenizer.json", slurp(GW_TEST_DATA "/golden/chat.json"));
    folder_.write("tokenizer_config.json",
                  nlohmann::json{{"eos_token", "</s>"}, {"chat_template", kChatMl}}.dump());
    tokenizer_ = Tokenizer::load(folder_.path());
  }
  static constexpr const char* kChatMl =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}";
  // Tokens of answers, by what they add to a text; special ones as '|'.
  std::string answers_in(const ChatTokens& tokens) const {
    std::string text;
    for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
      if (!tokens.is_answer[i]) continue;
      const std::string bytes = tokenizer_->bytes_of(tokens.ids[i]);
      text += bytes.empty() ? "|" : bytes;
    }
    return text;
  }
  std::unique_ptr<const Tokenizer> tokenizer_;
};

TEST_F(SampleTokens, OnlyTheCompletionAndItsEndCount) {
  SampleEncoder encoder(*tokenizer_, {kPairs, 1000, false});
  const std::vector<ChatMessage> sample{{"prompt", "What is it? "}, {"completion", "A word."}};
  const std::optional<ChatTokens> tokens = encoder.encode(sample);
  ASSERT_TRUE(tokens.has_value());
  EXPECT_EQ(tokens->ids.back(), tokenizer_->eos_id());
  EXPECT_EQ(answers_in(*tokens), "A word.|");
  EXPECT_EQ(tokenizer_->decode(tokens->ids), "What is it? A word.");
}

TEST_F(SampleTokens, OfAConversationTheAssistantsTurns) {
  SampleEncoder encoder(*tokenizer_, {kChats, 1000, false});
  const std::vector<ChatMessage> sample{
      {"user", "Hi"}, {"assistant", "Yes"}, {"user", "More"}, {"assistant", "No"}};
  EXPECT_EQ(answers_in(encoder.encode(sample).value()), "Yes|No|");
}

TEST_F(SampleTokens, TheFirstTokenIsNeverAnAnswer) {
  SampleEncoder encoder(*tokenizer_, {kPairs, 1000, false});
  const std::vector<ChatMessage> sample{{"prompt", ""}, {"completion", "word"}};
  const ChatTokens tokens = encoder.encode(sample).value();
  EXPECT_FALSE(tokens.is_answer.front());
  EXPECT_TRUE(tokens.is_answer.back());
}

TEST_F(SampleTokens, LongSamplesAreRefusedOrCut) {
  const std::vector<ChatMessage> sample{{"prompt", "What is it? "}, {"completion", "A word."}};
  const auto whole = SampleEncoder(*tokenizer_, {kPairs, 1000, false}).encode(sample).value();
  const auto size = std::ssize(whole.ids);
  EXPECT_TRUE(SampleEncoder(*tokenizer_, {kPairs, size, false}).encode(sample).has_value());
  expect_error(ErrorKind::kData, {"a sample of " + std::to_string(size) + " tokens"}, [&] {
    SampleEncoder(*tokenizer_, {kPairs, size - 1, false}).encode(sample);
  });
  SampleEncoder cuts(*tokenizer_, {kPairs, size - 1, true});
  const ChatTokens cut = cuts.encode(sample).value();
  EXPECT_EQ(cut.ids, std::vector(whole.ids.begin(), whole.ids.end() - 1));
  EXPECT_EQ(cuts.truncated(), 1);
  EXPECT_EQ(cuts.left_out(), 0);
  SampleEncoder cuts_the_answer(*tokenizer_, {kPairs, 2, true});
  EXPECT_FALSE(cuts_the_answer.encode(sample).has_value());
  EXPECT_EQ(cuts_the_answer.truncated(), 1);
  EXPECT_EQ(cuts_the_answer.left_out(), 1);
}

TEST_F(SampleTokens, VocabulariesWithoutAChatTemplateAreRefused) {
  folder_.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  const auto plain = Tokenizer::load(folder_.path());
  expect_error(ErrorKind::kData, {"the vocabulary has no chat template"}, [&] {
    SampleEncoder(*plain, {kChats, 10, false});
  });
}

}  // namespace
}  // namespace gradwire
