#include "data/prepare.h"

#include <filesystem>

#include <gtest/gtest.h>

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
  }
  PreparedText prepare() {
    said_.clear();
    return prepare_text(config_, [this](const std::string& line) { said_ += line + "\n"; });
  }

  TempFolder folder_;
  PrepareConfig config_;
  std::string said_;
};

TEST_F(Prepare, EveryDocumentIsOnOneSideAndComesBack) {
  const PreparedText made = prepare();
  EXPECT_FALSE(made.was_there);
  EXPECT_EQ(made.documents, 200);
  EXPECT_EQ(made.vocabulary, 400);
  const Tokenizer tokenizer = Tokenizer::load(made.tokenizer_path);
  const TokenFile train = TokenFile::open(made.train_path, tokenizer.hash());
  const TokenFile valid = TokenFile::open(made.valid_path, tokenizer.hash());
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
    EXPECT_EQ(ids.front(), tokenizer.bos_id());
    EXPECT_EQ(ids.back(), tokenizer.eos_id());
    EXPECT_EQ(tokenizer.decode(ids), document);
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

TEST_F(Prepare, ChangedTextOrSettingsAreMadeAgain) {
  prepare();
  const auto rebuilt = [this] {
    const bool fresh = !prepare().was_there;
    return fresh && said_.find("have changed") != std::string::npos && prepare().was_there;
  };
  folder_.write("a.txt", made_up_text(201));
  EXPECT_TRUE(rebuilt());
  config_.tokenizer.vocabulary = 390;
  EXPECT_TRUE(rebuilt());
  config_.tokenizer.kind = TokenizerKind::kUnigram;
  EXPECT_TRUE(rebuilt());
  config_.split.seed = 2;
  EXPECT_TRUE(rebuilt());
  config_.split.valid_share = 0.2;
  EXPECT_TRUE(rebuilt());
  config_.corpus.files.push_back(folder_.write("b.txt", made_up_text(10)));
  EXPECT_TRUE(rebuilt());
  config_.corpus.document_break = DocumentBreak::kFile;
  config_.split.valid_share = 0;
  EXPECT_TRUE(rebuilt());
}

TEST_F(Prepare, MissingOrDamagedOutputsAreMadeAgain) {
  const PreparedText made = prepare();
  const std::string train = slurp(made.train_path);
  std::filesystem::remove(made.valid_path);
  EXPECT_FALSE(prepare().was_there);
  EXPECT_THAT(said_, ::testing::HasSubstr("valid.h5"));
  std::filesystem::resize_file(made.train_path, train.size() / 2);
  EXPECT_FALSE(prepare().was_there);
  folder_.write("cache/deep/tokenizer.model", "hello");
  EXPECT_FALSE(prepare().was_there);
  folder_.write("cache/deep/prepared.json", "{\"inputs\": ");
  EXPECT_FALSE(prepare().was_there);
  EXPECT_TRUE(prepare().was_there);
  EXPECT_EQ(slurp(made.train_path), train);
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

TEST_F(Prepare, AnErrorLeavesNothingThatLooksDone) {
  prepare();
  config_.tokenizer.vocabulary = 399;
  expect_error(ErrorKind::kIo, {"File too large"}, [this] {
    const FullDisk full(9000);
    prepare();
  });
  config_.tokenizer.vocabulary = 400;
  EXPECT_FALSE(prepare().was_there);
  folder_.write("a.txt", made_up_text(200) + "\n\xFF\n");
  expect_error(ErrorKind::kData, {"a.txt:", "0xff"}, [this] { prepare(); });
  EXPECT_FALSE(std::filesystem::exists(folder_.file("cache/deep/prepared.json")));
}

TEST_F(Prepare, SplitsThatCannotBeAreErrors) {
  for (const double share : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    config_.split.valid_share = share;
    expect_error(ErrorKind::kUsage, {"validation share"}, [this] { prepare(); });
  }
  config_.split.valid_share = 1e-9;
  expect_error(ErrorKind::kData, {"valid.h5", "1e-09 of 200 documents", "none for validation"},
               [this] { prepare(); });
  config_.corpus.document_break = DocumentBreak::kFile;
  config_.split.valid_share = 0.999999;
  expect_error(ErrorKind::kData, {"no text to train on"}, [this] { prepare(); });
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

}  // namespace
}  // namespace gradwire
