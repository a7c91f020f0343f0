#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include "core/hash.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"

namespace gradwire {
namespace {

using testing_data::Documents;
using testing_data::expect_error;
using testing_data::made_up_text;
using testing_data::TempFolder;

std::string train(const TokenizerConfig& config, std::vector<std::string> documents) {
  Documents source(std::move(documents));
  return train_tokenizer(config, source);
}

class TokenizerKinds : public ::testing::TestWithParam<TokenizerKind> {
 protected:
  TokenizerConfig config(std::int64_t vocabulary) const {
    return {.kind = GetParam(), .vocabulary = vocabulary};
  }
};

TEST_P(TokenizerKinds, EveryTextComesBack) {
  const TempFolder folder;
  const std::unique_ptr<const Tokenizer> tokenizer =
      Tokenizer::load(folder.write("a.model", train(config(400), {made_up_text(100)})));
  EXPECT_EQ(tokenizer->vocabulary(), 400);
  for (const std::string text : {"", "bako ritendor.", "a line\nand another\n\n  with spaces ",
                                 " first", "grüße 東京 😀", "tabs\tand \x01 bytes", "  ", "\n"}) {
    const std::vector<std::int32_t> ids = tokenizer->encode(text);
    EXPECT_EQ(tokenizer->decode(ids), text);
    for (const std::int32_t id : ids)
      EXPECT_NE(id, tokenizer->unk_id());
  }
  EXPECT_LT(tokenizer->encode("bako ritendor.").size(), 8u);
}

TEST_P(TokenizerKinds, TheSameTextGivesTheSameModel) {
  const std::string first = train(config(400), {made_up_text(100)});
  EXPECT_EQ(first, train(config(400), {made_up_text(100)}));
  EXPECT_NE(first, train(config(401), {made_up_text(100)}));
}

TEST_P(TokenizerKinds, TooLittleTextIsAnError) {
  expect_error(ErrorKind::kData, {"vocabulary of 4000"},
               [this] { train(config(4000), {"a few words"}); });
  expect_error(ErrorKind::kData, {"vocabulary of 10"},
               [this] { train(config(10), {made_up_text(100)}); });
  expect_error(ErrorKind::kData, {"no text"}, [this] { train(config(400), {}); });
}

INSTANTIATE_TEST_SUITE_P(Both, TokenizerKinds,
                         ::testing::Values(TokenizerKind::kBpe, TokenizerKind::kUnigram),
                         [](const auto& kind) { return name_of(kind.param); });

TEST(Tokenizer, MarksGiveNoText) {
  const TempFolder folder;
  const std::string model = train({.vocabulary = 400}, {made_up_text(100)});
  const std::unique_ptr<const Tokenizer> tokenizer =
      Tokenizer::load(folder.write("a.model", model));
  std::vector<std::int32_t> ids = tokenizer->encode("bako ri");
  ids.insert(ids.begin(), tokenizer->bos_id());
  ids.push_back(tokenizer->eos_id());
  EXPECT_EQ(tokenizer->decode(ids), "bako ri");
  EXPECT_EQ(tokenizer->hash(), hash_of(model));
  expect_error(ErrorKind::kData, {"a.model", "token id 400", "vocabulary of 400"},
               [&] { tokenizer->decode(std::vector<std::int32_t>{400}); });
  expect_error(ErrorKind::kData, {"token id -1"},
               [&] { tokenizer->decode(std::vector<std::int32_t>{-1}); });
}

TEST(Tokenizer, FilesThatAreNoModelAreErrors) {
  const TempFolder folder;
  ::testing::internal::CaptureStderr();
  expect_error(ErrorKind::kIo, {"none.model", "No such file"},
               [&] { Tokenizer::load(folder.file("none.model")); });
  expect_error(ErrorKind::kData, {"empty.model", "not a SentencePiece model"},
               [&] { Tokenizer::load(folder.write("empty.model", "")); });
  expect_error(ErrorKind::kData, {"text.model", "not a SentencePiece model"},
               [&] { Tokenizer::load(folder.write("text.model", "hello there\n")); });
  const std::string whole = train({.vocabulary = 400}, {made_up_text(100)});
  expect_error(ErrorKind::kData, {"cut.model", "not a SentencePiece model"}, [&] {
    Tokenizer::load(folder.write("cut.model", whole.substr(0, whole.size() / 2)));
  });
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(Tokenizer, TrainingPrintsNothing) {
  ::testing::internal::CaptureStderr();
  train({.vocabulary = 400}, {made_up_text(100)});
  EXPECT_THROW(train({.vocabulary = 4000}, {"a few words"}), Error);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(Tokenizer, LongLinesAreCutNotDropped) {
  // One line of 50 kB, and one without a space, in two-byte characters: dropped, they would leave
  // too little text for the vocabulary.
  std::string line = made_up_text(100);
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::string unbroken;
  for (int i = 0; i < 5001; ++i)
    unbroken += "ü";
  const TempFolder folder;
  const std::unique_ptr<const Tokenizer> tokenizer =
      Tokenizer::load(folder.write("a.model", train({.vocabulary = 400}, {line, unbroken})));
  EXPECT_EQ(tokenizer->vocabulary(), 400);
  EXPECT_LE(tokenizer->encode("üü").size(), 2u);
}

TEST(Tokenizer, ALargeCorpusIsThinned) {
  TokenizerConfig config{.vocabulary = 400};
  const std::string all = train(config, {made_up_text(400)});
  config.max_training_bytes = static_cast<std::int64_t>(made_up_text(400).size()) / 3;
  const std::string thinned = train(config, {made_up_text(400)});
  EXPECT_NE(thinned, all);
}

TEST(Tokenizer, AnErrorOfTheSourceIsNotLost) {
  class Failing : public DocumentSource {
   public:
    bool next(std::string& document) override {
      document = made_up_text(2);
      if (++calls_ > 5) throw Error(ErrorKind::kData, "b.txt:7: not UTF-8");
      return true;
    }
    std::int64_t bytes() const override { return 1; }

   private:
    int calls_ = 0;
  };
  Failing source;
  expect_error(ErrorKind::kData, {"b.txt:7"},
               [&] { train_tokenizer({.vocabulary = 300}, source); });
}

}  // namespace
}  // namespace gradwire
