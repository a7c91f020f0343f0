// SentencePiece vocabularies in GGUF files: what the library of SentencePiece says of the same
// vocabulary is what must come out.
#include <cmath>
#include <random>

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "data/tokenizer.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"
#include "tests/support/damage.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::TempFolder;

// The bytes of a GGUF file without tensors.
class GgufBytes {
 public:
  void text(const std::string& key, const std::string& value) {
    begin(key, 8);
    put_text(value);
  }
  void integer(const std::string& key, std::uint32_t value) {
    begin(key, 4);
    put(value);
  }
  void flag(const std::string& key, bool value) {
    begin(key, 7);
    put(static_cast<std::uint8_t>(value));
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const std::string& value : values)
      put_text(value);
  }
  template <class T>
  void numbers(const std::string& key, std::uint32_t type, const std::vector<T>& values) {
    begin_array(key, type, values.size());
    for (const T value : values)
      put(value);
  }
  std::string bytes() const {
    GgufBytes head;
    head.out_ = "GGUF";
    head.put(std::uint32_t{3});
    head.put(std::uint64_t{0});
    head.put(keys_);
    return head.out_ + out_;
  }

 private:
  template <class T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put_text(const std::string& text) {
    put(std::uint64_t{text.size()});
    out_ += text;
  }
  void begin(const std::string& key, std::uint32_t type) {
    ++keys_;
    put_text(key);
    put(type);
  }
  void begin_array(const std::string& key, std::uint32_t type, std::size_t count) {
    begin(key, 9);
    put(type);
    put(std::uint64_t{count});
  }

  std::string out_;
  std::uint64_t keys_ = 0;
};

// A vocabulary of the library, and the same as llama.cpp's converter writes it.
class SpacedBpe : public ::testing::Test {
 protected:
  SpacedBpe() {
    testing_data::Documents documents({testing_data::made_up_text(100) + "grüße 東京 a-b. 12,5"});
    const std::string model = train_tokenizer({.vocabulary = 420}, documents);
    EXPECT_TRUE(library_.LoadFromSerializedProto(model).ok());
    for (int id = 0; id < library_.GetPieceSize(); ++id) {
      tokens_.push_back(library_.IdToPiece(id));
      scores_.push_back(library_.GetScore(id));
      types_.push_back(library_.IsUnknown(id)   ? 2
                       : library_.IsControl(id) ? 3
                       : library_.IsByte(id)    ? 6
                                                : 1);
    }
  }

  std::string file(bool adds_space = true) const {
    GgufBytes out;
    out.text("tokenizer.ggml.model", "llama");
    out.texts("tokenizer.ggml.tokens", tokens_);
    out.numbers("tokenizer.ggml.scores", 6, scores_);
    out.numbers("tokenizer.ggml.token_type", 5, types_);
    out.integer("tokenizer.ggml.bos_token_id", 1);
    out.integer("tokenizer.ggml.eos_token_id", 2);
    out.integer("tokenizer.ggml.unknown_token_id", 0);
    if (!adds_space) out.flag("tokenizer.ggml.add_space_prefix", false);
    return out.bytes();
  }
  std::unique_ptr<const Tokenizer> load(bool adds_space = true) const {
    return Tokenizer::load(folder_.write("a.gguf", file(adds_space)));
  }
  std::vector<int> wanted(const std::string& text) const {
    std::vector<int> ids;
    EXPECT_TRUE(library_.Encode(text, &ids).ok());
    return ids;
  }

  TempFolder folder_;
  sentencepiece::SentencePieceProcessor library_;
  std::vector<std::string> tokens_;
  std::vector<float> scores_;
  std::vector<std::int32_t> types_;
};

TEST_F(SpacedBpe, GivesTheIdsOfTheLibrary) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer->vocabulary(), 420);
  EXPECT_TRUE(tokenizer->special().adds_bos);
  const std::string parts[] = {"ba", "ko", "ri",  "mu",  "ten",  "sal",    " ",     "  ",
                               ".",  "ü",  "東",  "京",  "é",    "12",     "\n",    "\t",
                               "😀",  "ge", "dor", "<s>", "</s>", "<0x0A>", "\u2581"};
  std::mt19937_64 draw(5);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (std::uint64_t n = draw() % 12; n > 0; --n)
      text += parts[draw() % std::size(parts)];
    const std::vector<std::int32_t> ids = tokenizer->encode(text);
    // The library adds no space to an empty text, and neither do we.
    EXPECT_EQ(ids, wanted(text)) << text;
    std::string back;
    EXPECT_TRUE(library_.Decode(ids, &back).ok());
    EXPECT_EQ(tokenizer->decode(ids), back);
  }
}

TEST_F(SpacedBpe, AddsASpaceAtTheBeginningAndAfterSpecialTokens) {
  const auto tokenizer = load();
  std::vector<std::int32_t> ids = wanted("ba ko");
  ids.push_back(2);
  for (const int id : wanted("ri"))
    ids.push_back(id);
  EXPECT_EQ(tokenizer->encode("ba ko</s>ri", SpecialText::kToken), ids);
  const auto without = load(/*adds_space=*/false);
  EXPECT_EQ(without->encode(" ba ko"), wanted("ba ko"));
  EXPECT_EQ(without->decode(without->encode(" ba ko")), " ba ko");
  EXPECT_EQ(tokenizer->find("</s>"), 2);
  EXPECT_EQ(tokenizer->find("<0x0A>"), -1);  // a byte has no name
}

TEST_F(SpacedBpe, BytesThatAreNoTextComeBack) {
  const auto tokenizer = load();
  const std::string text = "ba\xFF\xC3 \xE2\x82";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

TEST_F(SpacedBpe, RunsWithoutTokensBecomeOneUnknown) {
  // Without byte tokens; the characters are none of the vocabulary.
  std::replace(types_.begin(), types_.end(), 6, 1);
  for (std::size_t id = 3; id < 3 + 256; ++id)
    tokens_[id] = "no byte " + std::to_string(id);
  const auto tokenizer = load(/*adds_space=*/false);
  EXPECT_EQ(tokenizer->encode("😀😀"), std::vector<std::int32_t>{0});
}

TEST_F(SpacedBpe, SaysWhatDoesNotFit) {
  const auto refused = [&](const std::vector<std::string>& said) {
    expect_error(ErrorKind::kData, said, [&] { load(); });
  };
  scores_.back() = std::nanf("");
  refused({"a.gguf", "score of token 419"});
  scores_.pop_back();
  refused({"a.gguf", "419 scores for 420 tokens"});
  scores_.push_back(0);
  tokens_[5] = "<0xG2>";
  refused({"token 5 is a byte", "'<0xG2>'"});
  tokens_[5] = "<0x02>";
  tokens_[400] = tokens_[401];
  refused({"appears twice"});
}

TEST_F(SpacedBpe, DamagedFilesAreReadOrRefused) {
  const test::Outcomes outcomes =
      test::read_damaged(file(), 1000, 7, [&](const std::string& bytes) {
        const auto tokenizer = Tokenizer::load(folder_.write("damaged.gguf", bytes));
        tokenizer->decode(tokenizer->encode("ba ko é</s>", SpecialText::kToken));
      });
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 100);
}

}  // namespace
}  // namespace gradwire
