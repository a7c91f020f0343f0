// A tokenizer that is kept apart from its model gives the same ids, and has the same hash.
#include "data/tokenizers/copy_tokenizer.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "core/file.h"
#include "core/weight_files/gguf.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

class Copy : public ::testing::Test {
 protected:
  std::string path(const char* name) const { return (folder_.path() / name).string(); }
  void expect_same(const std::string& from) {
    const auto tokenizer = Tokenizer::load(from);
    copy_tokenizer(*tokenizer, path("copy"));
    const auto copy = Tokenizer::load(path("copy"));
    EXPECT_EQ(copy->hash(), tokenizer->hash());
    EXPECT_EQ(copy->chat_template(), tokenizer->chat_template());
    EXPECT_EQ(copy->eos_id(), tokenizer->eos_id());
    EXPECT_EQ(copy->encode("a king"), tokenizer->encode("a king"));
  }
  // A file with a vocabulary of two tokens, a merge between them, and keys of a model.
  std::string gguf() {
    std::string out = "GGUF";
    const auto number = [&](auto value) {
      out.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    const auto text = [&](const std::string& value) {
      number(std::uint64_t{value.size()});
      out += value;
    };
    const auto texts = [&](const char* key, std::initializer_list<const char*> values) {
      text(key);
      number(GgufType::kArray);
      number(GgufType::kString);
      number(std::uint64_t{values.size()});
      for (const char* value : values)
        text(value);
    };
    const auto pair = [&](const char* key, const char* value) {
      text(key);
      number(GgufType::kString);
      text(value);
    };
    number(std::uint32_t{3});
    number(std::uint64_t{0});
    number(std::uint64_t{7});
    pair("general.architecture", "llama");
    pair("tokenizer.ggml.model", "gpt2");
    pair("tokenizer.ggml.pre", "gpt-2");
    pair("tokenizer.chat_template", "{{ messages }}");
    texts("tokenizer.ggml.tokens", {"a", "k", "i", "n", "g", "\u0120", "in", "<end>"});
    texts("tokenizer.ggml.merges", {"i n"});
    text("tokenizer.ggml.eos_token_id");
    number(GgufType::kU32);
    number(std::uint32_t{7});
    folder_.write("model.gguf", out);
    return path("model.gguf");
  }

  test::TempFolder folder_;
};

TEST_F(Copy, OfGgufHoldsTheVocabularyAlone) {
  expect_same(gguf());
  const GgufFile copy = GgufFile::open(path("copy"));
  EXPECT_TRUE(copy.tensors().empty());
  EXPECT_FALSE(copy.has("general.architecture"));
  EXPECT_EQ(copy.metadata().size(), 6u);
}

TEST_F(Copy, OfAFolderHasTheFilesBesideIt) {
  folder_.write("tokenizer_config.json", R"({"eos_token": "<end>"})");
  folder_.write("chat_template.jinja", "{{ messages }}");
  folder_.write("tokenizer.json", R"({"version": "1.0",
    "added_tokens": [{"id": 7, "content": "<end>", "special": true}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": ["i n"],
              "vocab": {"a": 0, "k": 1, "i": 2, "n": 3, "g": 4, "\u0120": 5, "in": 6}}})");
  expect_same(folder_.path().string());
  EXPECT_TRUE(fs::exists(folder_.path() / "copy" / "chat_template.jinja"));
}

TEST_F(Copy, IsRefusedIfTheFileHasChanged) {
  const std::string file = gguf();
  const auto tokenizer = Tokenizer::load(file);
  std::string bytes = read_text(file);
  bytes[bytes.size() - sizeof(std::uint32_t)] = 6;  // another token ends a document
  folder_.write("model.gguf", bytes);
  test::expect_error(ErrorKind::kData, "has changed since",
                     [&] { copy_tokenizer(*tokenizer, path("copy")); });
}

}  // namespace
}  // namespace gradwire
