#include "data/prepare.h"

#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "data/token_file.h"
#include "tests/data/full_disk.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::FullDisk;
using testing_data::made_up_text;
using testing_data::slurp;
using testing_data::TempFolder;

class Prepare : public ::testing::Test {
 protected:
  Prepare() {
    config_.corpus.files = {folder_.write("a.txt", made_up_text(200))};
    config_.tokenizer.vocabulary = 400;
    config_.split.valid_share = 0.1;
    config_.cache_folder = folder_.file("cache/deep");
    first_config_ = config_;
  }
  PreparedText prepare() {
    said_.clear();
    return prepare_text(config_, [this](const std::string& line) { said_ += line + "\n"; });
  }

  TempFolder folder_;
  PrepareConfig config_, first_config_;
  std::string said_;
};

// At every document in turn: nothing half is left, and what was whole by then is used again.
TEST_F(Prepare, GivesUpBetweenTwoDocumentsOnRequest) {
  int stops = 0;
  for (int patience = 0;; patience += 17) {
    int left = patience;
    config_.stop_requested = [&] { return left-- == 0; };
    try {
      prepare();
      break;
    } catch (const PreparationStopped&) {
      ++stops;
    }
    for (const auto& entry : std::filesystem::directory_iterator(config_.cache_folder))
      EXPECT_EQ(entry.path().string().find("tokens-"), std::string::npos) << entry.path();
  }
  EXPECT_GT(stops, 10);
  config_.stop_requested = nullptr;
  EXPECT_TRUE(prepare().was_there);
}

TEST_F(Prepare, EveryDocumentIsOnOneSideAndComesBack) {
  const PreparedText made = prepare();
  EXPECT_FALSE(made.was_there);
  EXPECT_EQ(made.documents, 200);
  EXPECT_EQ(made.vocabulary, 400);
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(made.tokenizer_path);
  const TokenFile train = TokenFile::open(made.train_path, tokenizer->hash());
  const TokenFile valid = TokenFile::open(made.valid_path, tokenizer->hash());
  EXPECT_EQ(train.tokens(), made.train_tokens);
  EXPECT_EQ(valid.tokens(), made.valid_tokens);
  train.verify();
  valid.verify();

  Corpus corpus(config_.corpus);
  std::string document;
  std::int64_t next[2] = {0, 0};
  for (std::int64_t i = 0; corpus.next(document); ++i) {
    const bool held_out = is_held_out(config_.split, i);
    const TokenFile& file = held_out ? valid : train;
    const auto [begin, end] = file.document(next[held_out ? 1 : 0]++);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(end - begin));
    file.read(begin, ids);
    EXPECT_EQ(ids.front(), tokenizer->bos_id());
    EXPECT_EQ(ids.back(), tokenizer->eos_id());
    EXPECT_EQ(tokenizer->decode(ids), document);
  }
  EXPECT_EQ(next[0], train.documents());
  EXPECT_EQ(next[1], valid.documents());
}

TEST_F(Prepare, ASecondCallDoesNothingAndSaysSo) {
  const PreparedText made = prepare();
  const auto written = std::filesystem::last_write_time(made.train_path);
  const PreparedText again = prepare();
  EXPECT_TRUE(again.was_there);
  EXPECT_THAT(said_, ::testing::HasSubstr("already prepared"));
  EXPECT_EQ(std::filesystem::last_write_time(made.train_path), written);
  EXPECT_EQ(again.train_tokens, made.train_tokens);
  EXPECT_EQ(again.valid_tokens, made.valid_tokens);
  EXPECT_EQ(again.documents, made.documents);
  EXPECT_EQ(again.valid_path, made.valid_path);
}

TEST_F(Prepare, EveryTextAndSettingHasATokenizerAndTokensOfItsOwn) {
  const PreparedText first = prepare();
  std::set<std::string> seen{first.train_path};
  const auto is_new = [&] {
    const PreparedText made = prepare();
    return !made.was_there && seen.insert(made.train_path).second && prepare().was_there;
  };
  folder_.write("a.txt", made_up_text(201));
  EXPECT_TRUE(is_new());
  config_.tokenizer.vocabulary = 390;
  EXPECT_TRUE(is_new());
  config_.tokenizer.kind = TokenizerKind::kUnigram;
  EXPECT_TRUE(is_new());
  config_.split.seed = 2;
  EXPECT_TRUE(is_new());
  config_.split.valid_share = 0.2;
  EXPECT_TRUE(is_new());
  config_.corpus.files.push_back(folder_.write("b.txt", made_up_text(10)));
  EXPECT_TRUE(is_new());
  config_.corpus.document_break = DocumentBreak::kFile;
  config_.split.valid_share = 0;
  EXPECT_TRUE(is_new());

  // None of them has touched the first.
  folder_.write("elsewhere.txt", made_up_text(200));
  config_ = first_config_;
  config_.corpus.files = {folder_.file("elsewhere.txt")};
  const PreparedText again = prepare();
  EXPECT_TRUE(again.was_there);
  EXPECT_EQ(again.train_path, first.train_path);
  EXPECT_EQ(again.tokenizer_path, first.tokenizer_path);
}

TEST_F(Prepare, MissingOrDamagedOutputsAreMadeAgain) {
  const PreparedText made = prepare();
  const std::string train = slurp(made.train_path), model = slurp(made.tokenizer_path);
  std::filesystem::remove(made.valid_path);
  EXPECT_FALSE(find_prepared(config_));
  EXPECT_FALSE(prepare().was_there);
  EXPECT_THAT(said_, ::testing::HasSubstr("valid.h5"));
  std::filesystem::resize_file(made.train_path, train.size() / 2);
  EXPECT_FALSE(prepare().was_there);
  std::ofstream(made.tokenizer_path) << "hello";
  EXPECT_FALSE(find_prepared(config_));
  EXPECT_TRUE(prepare().was_there) << "the tokens are those of the tokenizer that is trained again";
  EXPECT_EQ(slurp(made.tokenizer_path), model);
  EXPECT_EQ(slurp(made.train_path), train);
}

TEST_F(Prepare, LookingMakesNothing) {
  EXPECT_FALSE(find_prepared(config_));
  EXPECT_FALSE(std::filesystem::exists(config_.cache_folder));
  const PreparedText made = prepare();
  const std::optional<PreparedText> found = find_prepared(config_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->train_path, made.train_path);
  EXPECT_EQ(found->valid_tokens, made.valid_tokens);
  EXPECT_EQ(found->vocabulary, made.vocabulary);
}

std::vector<std::string> temporary_names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.find(kTemporaryMark) != std::string::npos) names.push_back(name);
  }
  return names;
}

// As by SIGKILL: nothing of the process cleans up. What it left goes with the next preparation.
TEST_F(Prepare, LeftoversOfADeadWriterAreRemovedAndThoseOfALivingOneStay) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      prepare_text(config_, [](const std::string& line) {
        if (line.find("training tokens") != std::string::npos) ::_exit(3);
      });
    } catch (...) {
    }
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 3);
  ASSERT_EQ(temporary_names_in(config_.cache_folder).size(), 1U);
  const std::string alive = temporary_name(config_.cache_folder + "/tokens-1", kTemporaryMark);
  std::filesystem::create_directory(alive);
  prepare();
  EXPECT_THAT(temporary_names_in(config_.cache_folder),
              ::testing::ElementsAre(std::filesystem::path(alive).filename().string()));
}

TEST_F(Prepare, WritersAtOnceGiveOneResult) {
  std::vector<pid_t> writers;
  for (int i = 0; i < 4; ++i) {
    writers.push_back(fork());
    if (writers.back() != 0) continue;
    int status = 1;
    try {
      prepare_text(config_);
      status = 0;
    } catch (...) {
    }
    ::_exit(status);
  }
  for (const pid_t writer : writers) {
    int status = -1;
    ASSERT_EQ(waitpid(writer, &status, 0), writer);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(temporary_names_in(config_.cache_folder), ::testing::IsEmpty());
  const PreparedText made = prepare();
  EXPECT_TRUE(made.was_there);
  TokenFile::open(made.train_path).verify();
  TokenFile::open(made.valid_path).verify();
}

TEST_F(Prepare, WithoutValidationThereIsOneFile) {
  config_.split.valid_share = 0;
  const PreparedText made = prepare();
  EXPECT_EQ(made.valid_path, "");
  EXPECT_EQ(made.valid_tokens, 0);
  EXPECT_EQ(TokenFile::open(made.train_path).documents(), 200);
  EXPECT_TRUE(prepare().was_there);
}

TEST_F(Prepare, AGivenTokenizerIsUsed) {
  const PreparedText first = prepare();
  const std::string model = folder_.write("given.model", slurp(first.tokenizer_path));
  config_.cache_folder = folder_.file("other");
  config_.tokenizer_model = model;
  const PreparedText second = prepare();
  EXPECT_EQ(slurp(second.tokenizer_path), slurp(model));
  EXPECT_EQ(slurp(second.train_path), slurp(first.train_path));
  EXPECT_TRUE(prepare().was_there);
  config_.tokenizer_model = folder_.write("bad.model", "hello");
  expect_error(ErrorKind::kData, {"not a SentencePiece model"}, [this] { prepare(); });
  config_.tokenizer_model = folder_.file("none.model");
  expect_error(ErrorKind::kIo, {"none.model"}, [this] { prepare(); });
}

TEST_F(Prepare, AnErrorLeavesNothing) {
  const PreparedText good = prepare();
  config_.tokenizer.vocabulary = 399;
  expect_error(ErrorKind::kIo, {"File too large"}, [this] {
    const FullDisk full(9000);
    prepare();
  });
  EXPECT_FALSE(find_prepared(config_));
  EXPECT_THAT(temporary_names_in(config_.cache_folder), ::testing::IsEmpty());
  config_.tokenizer.vocabulary = 400;
  EXPECT_EQ(prepare().train_path, good.train_path);
  folder_.write("a.txt", made_up_text(200) + "\n\xFF\n");
  expect_error(ErrorKind::kData, {"a.txt:", "0xff"}, [this] { prepare(); });
  EXPECT_FALSE(find_prepared(config_));
  EXPECT_THAT(temporary_names_in(config_.cache_folder), ::testing::IsEmpty());
}

// All that was read: the tokens of both sides as text.
std::pair<std::string, std::string> texts_of(const PreparedText& made) {
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(made.tokenizer_path);
  const auto text_of = [&](const std::string& path) {
    const TokenFile file = TokenFile::open(path, tokenizer->hash());
    std::vector<std::int32_t> ids(static_cast<std::size_t>(file.tokens()));
    file.read(0, ids);
    return tokenizer->decode(ids);
  };
  return {text_of(made.train_path), text_of(made.valid_path)};
}

TEST_F(Prepare, OfATextWithoutBlankLinesTheTailIsHeldOut) {
  std::string text = made_up_text(200);
  for (std::size_t at = 0; (at = text.find("\n\n", at)) != std::string::npos;)
    text.erase(at, 1);
  folder_.write("a.txt", text);
  const PreparedText made = prepare();
  EXPECT_EQ(made.documents, 2);
  EXPECT_THAT(said_, ::testing::HasSubstr("documents end at a blank line"));
  EXPECT_THAT(said_, ::testing::HasSubstr("its tail is held out instead, 10 % of it"));
  const auto [train, valid] = texts_of(made);
  while (text.ends_with('\n'))
    text.pop_back();
  EXPECT_EQ(train + "\n" + valid, text) << "cut between two lines";
  const double share = static_cast<double>(valid.size()) / static_cast<double>(text.size());
  EXPECT_NEAR(share, 0.1, 0.01);
  EXPECT_GE(share, 0.1);
}

TEST_F(Prepare, ATailMayBeginInsideALineAndSpanDocuments) {
  const std::string line(30000, 'x');
  folder_.write("a.txt", line + "\xC3\xA4" + line);
  config_.tokenizer.vocabulary = 262;
  config_.split.valid_share = 0.5;
  config_.corpus.document_break = DocumentBreak::kFile;
  const auto [train, valid] = texts_of(prepare());
  EXPECT_EQ(train, line);
  EXPECT_EQ(valid, "\xC3\xA4" + line) << "not inside a character";
}

TEST_F(Prepare, SplitsThatCannotBeAreErrors) {
  for (const double share : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    config_.split.valid_share = share;
    expect_error(ErrorKind::kUsage, {"validation share"}, [this] { prepare(); });
  }
  config_.corpus.document_break = DocumentBreak::kFile;
  config_.split.valid_share = 0.999999;
  expect_error(ErrorKind::kData, {"no text to train on"}, [this] { prepare(); });
}

TEST_F(Prepare, ATextThatIsTooSmallSaysWhatToLower) {
  folder_.write("a.txt", made_up_text(20));
  config_.tokenizer.vocabulary = 4000;
  for (const TokenizerKind kind : {TokenizerKind::kBpe, TokenizerKind::kUnigram}) {
    config_.tokenizer.kind = kind;
    expect_error(ErrorKind::kData,
                 {"vocabulary of 4000", "is the most this text gives; lower data.vocab_size"},
                 [this] { prepare(); });
  }
}

TEST(Split, TakesItsShareWhateverTheOrder) {
  const SplitConfig split{0.1, 3};
  int held_out = 0;
  for (std::int64_t i = 0; i < 20000; ++i)
    held_out += is_held_out(split, i);
  EXPECT_NEAR(held_out, 2000, 5 * std::sqrt(20000 * 0.1 * 0.9));
  EXPECT_FALSE(is_held_out({0.0, 3}, 5));
  int differs = 0;
  for (std::int64_t i = 0; i < 1000; ++i)
    differs += is_held_out({0.5, 3}, i) != is_held_out({0.5, 4}, i);
  EXPECT_GT(differs, 300);
}

class PrepareSamples : public Prepare {
 protected:
  PrepareSamples() {
    std::string lines;
    for (int i = 0; i < 60; ++i) {
      lines += fmt::format(R"({{"prompt": "{} of ", "completion": "{} and {}"}})", words_[i % 5],
                           words_[i % 3], i) +
               "\n";
    }
    config_.corpus.files = {folder_.write("a.jsonl", lines)};
    config_.samples = {SampleFormat::kPromptCompletion, 65, false};
    config_.tokenizer.vocabulary = 300;
    config_.split.valid_share = 0.2;
  }
  const std::vector<std::string> words_{"ba", "kori", "mutensal", "ge", "dor"};
};

TEST_F(PrepareSamples, WholeSamplesAreHeldOutAndKeepTheirAnswers) {
  const PreparedText made = prepare();
  EXPECT_EQ(made.documents, 60);
  EXPECT_GT(made.valid_tokens, 0);
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(made.tokenizer_path);
  std::multiset<std::string> answers;
  std::int64_t answer_tokens = 0;
  for (const std::string& path : {made.train_path, made.valid_path}) {
    const TokenFile file = TokenFile::open(path, tokenizer->hash());
    file.verify();
    answer_tokens += file.answer_tokens();
    for (std::int64_t i = 0; i < file.documents(); ++i) {
      const auto [begin, end] = file.document(i);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(end - begin)), answer;
      std::vector<std::uint8_t> counts(ids.size());
      file.read(begin, ids);
      file.read_answers(begin, counts);
      for (std::size_t t = 0; t < ids.size(); ++t)
        if (counts[t] == 1) answer.push_back(ids[t]);
      EXPECT_EQ(answer.back(), tokenizer->eos_id());
      answers.insert(tokenizer->decode(answer));
    }
  }
  EXPECT_EQ(answers.size(), 60U);
  // A token with text of both sides, such as a space, belongs to the answer.
  EXPECT_NE(answers.find("ba and 0"), answers.end());
  EXPECT_EQ(answer_tokens, made.answer_tokens);
  EXPECT_TRUE(prepare().was_there);
}

TEST_F(PrepareSamples, WhatAnswersDependOnNamesTheCache) {
  std::set<std::string> paths{prepare().train_path};
  config_.samples->truncates = true;
  paths.insert(prepare().train_path);
  config_.samples->most_tokens = 8;
  paths.insert(prepare().train_path);
  EXPECT_EQ(paths.size(), 3U);
  EXPECT_GT(prepare().truncated, 0);
}

TEST_F(PrepareSamples, SamplesThatCannotBeUsedAreNamedByLine) {
  config_.samples->most_tokens = 8;
  expect_error(ErrorKind::kData, {"a.jsonl:", "a sample of ", "at most 8"}, [&] { prepare(); });
  config_.split.valid_share = 0.999999;
  config_.samples->truncates = true;
  expect_error(ErrorKind::kData, {}, [&] { prepare(); });
}

// With a vocabulary that came with a chat template, which the tokens depend on.
TEST_F(PrepareSamples, ConversationsKeepTheAssistantsTurns) {
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    lines += fmt::format(
        R"({{"messages": [{{"role": "user", "content": "{0}"}}, {{"role": "assistant", "content": "answer {1}"}}]}})"
        "\n",
        words_[i % 5], i);
  }
  config_.corpus.files = {folder_.write("chats.jsonl", lines)};
  config_.samples->format = SampleFormat::kChat;
  std::filesystem::create_directory(folder_.file("vocabulary"));
  folder_.write("vocabulary/tokenizer.json", slurp(GW_TEST_DATA "/golden/chat.json"));
  config_.tokenizer_model = folder_.file("vocabulary");
  const auto prepare_with = [&](const std::string& separator) {
    const std::string jinja =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
        separator;
    folder_.write("vocabulary/tokenizer_config.json",
                  nlohmann::json{{"eos_token", "</s>"}, {"chat_template", jinja}}.dump());
    return prepare();
  };
  const PreparedText made = prepare_with("");
  EXPECT_EQ(made.documents, 40);
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(config_.tokenizer_model);
  const TokenFile file = TokenFile::open(made.train_path, tokenizer->hash());
  std::vector<std::int32_t> ids(static_cast<std::size_t>(file.tokens())), answers;
  std::vector<std::uint8_t> counts(ids.size());
  file.read(0, ids);
  file.read_answers(0, counts);
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (counts[i] == 1) answers.push_back(ids[i]);
  const std::string text = tokenizer->decode(answers);
  EXPECT_THAT(text, ::testing::HasSubstr("answer 1"));
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("ba")));
  EXPECT_EQ(std::count(answers.begin(), answers.end(), tokenizer->find("<|im_end|>")),
            file.documents());
  EXPECT_NE(
      prepare_with("{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
          .train_path,
      made.train_path);
}

}  // namespace
}  // namespace gradwire
