// Vocabularies of other programs: ids beside those of the package tokenizers (golden/, written by
// golden/make_tokenizers.py), and files that must be refused.
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "data/tokenizer.h"
#include "data/tokenizers/word_split.h"
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

std::string from_hex(const std::string& hex) {
  std::string text;
  for (std::size_t at = 0; at < hex.size(); at += 2)
    text.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
  return text;
}

class GoldenIds : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenIds, AreThoseOfThePackage) {
  const auto tokenizer = Tokenizer::load(golden(GetParam()));
  int texts = 0;
  for (const json& entry : json::parse(slurp(golden("ids.json")))) {
    if (entry["file"] != GetParam()) continue;
    const std::string text = from_hex(entry["text"]);
    const SpecialText special = entry["special"] ? SpecialText::kToken : SpecialText::kText;
    EXPECT_EQ(tokenizer->encode(text, special), entry["ids"].get<std::vector<std::int32_t>>())
        << text;
    ++texts;
  }
  EXPECT_GE(texts, 60);
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenIds,
                         ::testing::Values("smollm.json", "llama3.json", "byte_bpe.gguf",
                                           "bert.json", "bert_cased.json"),
                         [](const auto& file) {
                           std::string name = file.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ForeignTokenizer, AnyBytesComeBack) {
  const auto tokenizer = Tokenizer::load(golden("byte_bpe.gguf"));
  std::mt19937_64 draw(3);
  for (int i = 0; i < 300; ++i) {
    std::string text(draw() % 60, ' ');
    for (char& byte : text)
      byte = static_cast<char>(draw() % 3 == 0 ? 'a' + draw() % 4 : draw());
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(ForeignTokenizer, KnowsItsSpecialTokens) {
  const auto tokenizer = Tokenizer::load(golden("byte_bpe.gguf"));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->special().pad, -1);
  EXPECT_FALSE(tokenizer->special().adds_bos);
  EXPECT_EQ(tokenizer->chat_template(), "{{ messages }}");
  EXPECT_EQ(tokenizer->find("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->find("no such token"), -1);
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{2}), "");
  EXPECT_EQ(tokenizer->encode("<|im_end|>", SpecialText::kToken), std::vector<std::int32_t>{2});
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("<|im_end|>")), "<|im_end|>");
}

TEST(ForeignTokenizer, ReadsTheFilesBesideTokenizerJson) {
  const TempFolder folder;
  folder.write("tokenizer.json", slurp(golden("llama3.json")));
  const auto alone = Tokenizer::load(folder.path());
  EXPECT_EQ(alone->eos_id(), -1);
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"},
                   "chat_template": [{"name": "default", "template": "T"}]})");
  const auto tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_TRUE(tokenizer->special().adds_bos);  // the template of tokenizer.json says so
  EXPECT_EQ(tokenizer->chat_template(), "T");
  EXPECT_NE(tokenizer->hash(), alone->hash());
  folder.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  expect_error(ErrorKind::kData, {"tokenizer.json", "'</s>' is not in the vocabulary"},
               [&] { Tokenizer::load(folder.path()); });
  const TempFolder empty;
  expect_error(ErrorKind::kData, {"none of tokenizer.json"},
               [&] { Tokenizer::load(empty.path()); });
}

// The text of a vocab.txt with the tokens of bert.json.
std::string vocabulary_of_bert() {
  const json file = json::parse(slurp(golden("bert.json")));
  std::vector<std::string> lines(file["model"]["vocab"].size());
  for (const auto& [written, id] : file["model"]["vocab"].items())
    lines.at(id.get<std::size_t>()) = written;
  std::string text;
  for (const std::string& line : lines)
    text += line + "\n";
  return text;
}

TEST(ForeignTokenizer, ReadsVocabTxtAsTokenizerJson) {
  const TempFolder folder;
  folder.write("vocab.txt", vocabulary_of_bert());
  const auto tokenizer = Tokenizer::load(folder.path());
  const auto same = Tokenizer::load(golden("bert.json"));
  for (const json& entry : json::parse(slurp(golden("ids.json")))) {
    const std::string text = from_hex(entry["text"]);
    EXPECT_EQ(tokenizer->encode(text), same->encode(text)) << text;
  }
  EXPECT_EQ(tokenizer->bos_id(), tokenizer->find("[CLS]"));
  EXPECT_EQ(tokenizer->eos_id(), tokenizer->find("[SEP]"));
  EXPECT_TRUE(tokenizer->special().adds_bos);
  folder.write("tokenizer_config.json", R"({"do_lower_case": false, "unk_token": "nothing"})");
  expect_error(ErrorKind::kData, {"vocab.txt", "no token for unknown words"},
               [&] { Tokenizer::load(folder.path()); });
}

TEST(ForeignTokenizer, WordsOfBertComeBackWithSpacesBetween) {
  const auto tokenizer = Tokenizer::load(golden("bert.json"));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("THE  ünal,\tof[SEP]", SpecialText::kToken)),
            "the unal, of");
}

TEST(ForeignTokenizer, AStreamGivesWholeCharacters) {
  const auto tokenizer = Tokenizer::load(golden("byte_bpe.gguf"));
  const std::string text = "é€😀\xF0\x9F x";
  TextStream stream(*tokenizer);
  std::string all;
  for (const std::int32_t id : tokenizer->encode(text)) {
    const std::string part = stream.next(id);
    EXPECT_TRUE(part.empty() || (static_cast<unsigned char>(part.front()) & 0xC0u) != 0x80u);
    all += part;
  }
  EXPECT_EQ(all + stream.rest(), text);
  TextStream cut(*tokenizer);
  EXPECT_EQ(cut.next(tokenizer->encode("\xE2").front()), "");
  EXPECT_EQ(cut.rest(), "\xE2");
  EXPECT_EQ(cut.rest(), "");
}

TEST(ForeignTokenizer, LongWordsTakeLittleTime) {
  const auto tokenizer = Tokenizer::load(golden("byte_bpe.gguf"));
  const std::string word(std::size_t{1} << 20, 'e');
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(word)), word);
}

struct Refusal {
  const char* name;
  std::function<void(json&)> change;
  std::vector<std::string> said;
};

class RefusedJson : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedJson, IsNamed) {
  const TempFolder folder;
  json file = json::parse(slurp(golden("llama3.json")));
  GetParam().change(file);
  const std::string path = folder.write("tokenizer.json", file.dump());
  std::vector<std::string> said = GetParam().said;
  said.push_back("tokenizer.json: ");
  expect_error(ErrorKind::kData, said, [&] { Tokenizer::load(path); });
}

const Refusal kRefusals[] = {
    {"version", [](json& f) { f["version"] = "2.0"; }, {"version '2.0'"}},
    {"model_type", [](json& f) { f["model"]["type"] = "Unigram"; }, {"model: 'Unigram' is not"}},
    {"no_model", [](json& f) { f.erase("model"); }, {"'model' is missing"}},
    {"normalizer",
     [](json& f) {
       f["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}};
     },
     {"normalizer.normalizers[0]", "'NFKC' is not supported"}},
    {"pre_tokenizer",
     [](json& f) {
       f["pre_tokenizer"] = {{"type", "Metaspace"}};
     },
     {"pre_tokenizer: 'Metaspace'"}},
    {"no_pre_tokenizer", [](json& f) { f["pre_tokenizer"] = nullptr; }, {"ByteLevel"}},
    {"regex",
     [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a\x1b+"; },
     {"pre_tokenizer.pretokenizers[0]", "the pattern 'a\\x1b+'"}},
    {"behavior",
     [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; },
     {"'Removed'"}},
    {"decoder",
     [](json& f) {
       f["decoder"] = {{"type", "Metaspace"}};
     },
     {"decoder: 'Metaspace'"}},
    {"dropout", [](json& f) { f["model"]["dropout"] = 0.1; }, {"'dropout'"}},
    {"byte_fallback", [](json& f) { f["model"]["byte_fallback"] = true; }, {"'byte_fallback'"}},
    {"suffix",
     [](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; },
     {"'end_of_word_suffix'"}},
    {"unk", [](json& f) { f["model"]["unk_token"] = "<nil>"; }, {"'<nil>' is no token"}},
    {"merge",
     [](json& f) {
       f["model"]["merges"][0] = {"q", "nothing"};
     },
     {"'qnothing'"}},
    {"merge_form", [](json& f) { f["model"]["merges"][3] = "abc"; }, {"model.merges[3]"}},
    {"hole", [](json& f) { f["model"]["vocab"]["#"] = 3; }, {"same id 3"}},
    {"id", [](json& f) { f["model"]["vocab"]["!"] = 100000; }, {"'!' has the id 100000"}},
    {"huge_id", [](json& f) { f["model"]["vocab"]["!"] = ~std::uint64_t{0}; }, {"'!' is no whole"}},
    {"added_id", [](json& f) { f["added_tokens"][0]["id"] = 7; }, {"has the id 7"}},
    {"single_word", [](json& f) { f["added_tokens"][0]["single_word"] = true; }, {"'single_word'"}},
    {"word_piece_normalizer",
     [](json& f) {
       f["model"]["type"] = "WordPiece";
       f["normalizer"] = {{"type", "NFD"}};
     },
     {"normalizer: 'NFD' is not supported"}},
    {"vocab_list", [](json& f) { f["model"]["vocab"] = json::array(); }, {"'vocab' is no object"}},
};

INSTANTIATE_TEST_SUITE_P(Each, RefusedJson, ::testing::ValuesIn(kRefusals),
                         [](const auto& one) { return one.param.name; });

TEST(ForeignTokenizer, UnknownKindsOfGgufAreNamed) {
  const TempFolder folder;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = slurp(golden("byte_bpe.gguf"));
    return folder.write("a.gguf", bytes.replace(bytes.find(from), from.size(), to));
  };
  expect_error(ErrorKind::kData, {"a.gguf", "pre-tokenizer 'smoll?' (tokenizer.ggml.pre)"},
               [&] { Tokenizer::load(with("smollm", "smoll?")); });
  expect_error(ErrorKind::kData, {"a.gguf", "kind 'gpt3' (tokenizer.ggml.model)"},
               [&] { Tokenizer::load(with("gpt2", "gpt3")); });
  expect_error(ErrorKind::kData, {"a.gguf", "key 'tokenizer.ggml.model' is missing"},
               [&] { Tokenizer::load(with("tokenizer.ggml.model", "tokenizer.ggml.mode?")); });
}

TEST(ForeignTokenizer, DamagedFilesAreReadOrRefused) {
  const TempFolder folder;
  int seed = 10;
  for (const std::string name : {"llama3.json", "byte_bpe.gguf", "bert.json"}) {
    const test::Outcomes outcomes =
        test::read_damaged(slurp(golden(name)), 1000, ++seed, [&](const std::string& bytes) {
          const auto tokenizer = Tokenizer::load(folder.write(name, bytes));
          const std::vector<std::int32_t> ids =
              tokenizer->encode("It's 12 µm <|im_end|>\n", SpecialText::kToken);
          tokenizer->decode(ids);
        });
    EXPECT_GT(outcomes.read, 0) << name;
    EXPECT_GT(outcomes.refused, 100) << name;
  }
}

TEST(WordSplit, RulesCutTheRestOfEachOther) {
  using enum WordRule;
  using Words = std::vector<std::string_view>;
  EXPECT_EQ(split_words("", {kGpt2}), Words());
  EXPECT_EQ(split_words("any  text", {}), Words({"any  text"}));
  EXPECT_EQ(split_words("I'll  go\n\nx 12!", {kGpt2}),
            Words({"I", "'ll", " ", " go", "\n", "\n", "x", " 12", "!"}));
  EXPECT_EQ(split_words("I'LL  go\n\nx 1234!\n", {kLlama3}),
            Words({"I", "'LL", " ", " go", "\n\n", "x", " ", "123", "4", "!\n"}));
  EXPECT_EQ(split_words("a 12", {kDigits, kGpt2}), Words({"a", " ", "1", "2"}));
  EXPECT_EQ(split_words("a,12345 b", *rules_of_gguf_name("default")),
            Words({"a", ",", "123", "45", " b"}));
  EXPECT_EQ(split_words("\xFF\xFE x", {kGpt2}), Words({"\xFF\xFE", " x"}));
}

}  // namespace
}  // namespace gradwire
