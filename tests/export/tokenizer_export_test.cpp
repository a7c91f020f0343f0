// A vocabulary written into a GGUF file gives the ids that it gave before.
#include "export/tokenizer_export.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "tests/data/text.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using test::expect_error;

class TokenizerExport : public ::testing::Test {
 protected:
  std::unique_ptr<const Tokenizer> trained(TokenizerKind kind) {
    testing_data::Documents source({testing_data::made_up_text(60)});
    return Tokenizer::load(
        folder.write("a.model", train_tokenizer({.kind = kind, .vocabulary = 320}, source)));
  }
  test::TempFolder folder;
};

TEST_F(TokenizerExport, GgufGivesTheSameIds) {
  const auto ours = trained(TokenizerKind::kBpe);
  const std::string path = folder.file("a.gguf");
  write_gguf(path, gguf_tokenizer_keys(*ours), {});
  const auto theirs = Tokenizer::load(path);
  EXPECT_EQ(theirs->vocabulary(), ours->vocabulary());
  EXPECT_EQ(theirs->bos_id(), ours->bos_id());
  EXPECT_EQ(theirs->eos_id(), ours->eos_id());
  EXPECT_EQ(theirs->unk_id(), ours->unk_id());
  for (const char* text :
       {"bako ritendor.", "a line\nand  another\n\n", "grüße 東京 😀", " x", "."}) {
    EXPECT_EQ(theirs->encode(text), ours->encode(text)) << text;
    EXPECT_EQ(theirs->decode(theirs->encode(text)), text);
  }
}

TEST_F(TokenizerExport, HuggingFaceGetsTheModelByteForByte) {
  const auto ours = trained(TokenizerKind::kUnigram);
  const SmallFiles files = hugging_face_tokenizer(*ours, 128);
  EXPECT_EQ(files[0].first, "tokenizer.model");
  EXPECT_EQ(files[0].second, read_text(ours->path()));
  const auto config = nlohmann::json::parse(files[1].second);
  EXPECT_EQ(config["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["model_max_length"], 128);
}

TEST_F(TokenizerExport, RefusesWhatGgufCannotHold) {
  const auto unigram = trained(TokenizerKind::kUnigram);
  expect_error(ErrorKind::kData, "GGUF holds SentencePiece models of BPE",
               [&] { gguf_tokenizer_keys(*unigram); });
  const auto bpe = trained(TokenizerKind::kBpe);
  const std::string path = folder.file("a.gguf");
  write_gguf(path, gguf_tokenizer_keys(*bpe), {});
  const auto foreign = Tokenizer::load(path);
  expect_error(ErrorKind::kData, "it is no SentencePiece model",
               [&] { hugging_face_tokenizer(*foreign, 128); });
}

}  // namespace
}  // namespace gradwire
