#include "data/tokenizers/gguf_tokenizer.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"
#include "data/tokenizers/byte_bpe.h"
#include "data/tokenizers/spaced_bpe.h"

namespace gradwire {
namespace {

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kMerges = "tokenizer.ggml.merges";

bool is_of_tokenizer(std::string_view key) {
  return key.starts_with("tokenizer.");
}

// llama.cpp's numbers of what a token is.
enum TokenType : std::int64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

  std::unique_ptr<const Tokenizer> read() const {
    const std::string model = file_.text("tokenizer.ggml.model");
    if (model == "gpt2") return byte_bpe();
    if (model == "llama") return spaced_bpe();
    refuse(
        fmt::format("the vocabulary is of the kind '{}' (tokenizer.ggml.model), which is not "
                    "supported; 'gpt2' and 'llama' are",
                    printable_word(model, 64)));
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::kData, fmt::format("{}: {}", file_.path(), why));
  }

  std::uint64_t count(const char* key) const {
    const auto found = file_.metadata().find(key);
    const std::uint64_t elements = found == file_.metadata().end() ? 0 : found->second.count;
    if (elements > static_cast<std::uint64_t>(kMostPieces)) {
      refuse(fmt::format("{} {}; at most {}", elements, key, kMostPieces));
    }
    return elements;
  }

  std::vector<std::string> tokens() const {
    if (count(kTokens) == 0) refuse(fmt::format("no {}", kTokens));
    std::vector<std::string> tokens = file_.texts(kTokens);
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      if (tokens[id].size() <= kMostPieceBytes) continue;
      refuse(
          fmt::format("token {} has {} bytes; at most {}", id, tokens[id].size(), kMostPieceBytes));
    }
    return tokens;
  }

  std::vector<std::int64_t> types(std::size_t tokens) const {
    if (!file_.has(kTypes)) return std::vector<std::int64_t>(tokens, kNormal);
    count(kTypes);
    std::vector<std::int64_t> types = file_.integers(kTypes);
    if (types.size() != tokens) {
      refuse(fmt::format("{} types for {} tokens ({})", types.size(), tokens, kTypes));
    }
    return types;
  }

  std::vector<std::pair<std::string, std::string>> merges() const {
    count(kMerges);
    std::vector<std::pair<std::string, std::string>> merges;
    for (const std::string& merge : file_.texts(kMerges)) {
      // A part may begin with a space in theory, never be empty.
      const std::size_t space = merge.find(' ', 1);
      if (space == std::string::npos) {
        refuse(fmt::format("merge {} has no two parts: '{}'", merges.size(),
                           printable_word(merge, 128)));
      }
      merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    return merges;
  }

  std::vector<double> scores(std::size_t tokens) const {
    count(kScores);
    std::vector<double> scores = file_.numbers(kScores);
    if (scores.size() != tokens) {
      refuse(fmt::format("{} scores for {} tokens ({})", scores.size(), tokens, kScores));
    }
    return scores;
  }

  std::int32_t special_id(const char* name, std::size_t tokens) const {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    if (!file_.has(key)) return -1;
    const std::int64_t id = file_.integer(key);
    if (id < 0 || id >= static_cast<std::int64_t>(tokens)) {
      refuse(fmt::format("{} is {}, in a vocabulary of {}", key, id, tokens));
    }
    return static_cast<std::int32_t>(id);
  }

  SpecialTokens special(std::size_t tokens, bool adds_bos) const {
    constexpr const char* kAddsBos = "tokenizer.ggml.add_bos_token";
    SpecialTokens out{special_id("bos", tokens), special_id("eos", tokens),
                      special_id("unknown", tokens), special_id("padding", tokens)};
    if (file_.has(kAddsBos)) adds_bos = file_.flag(kAddsBos);
    out.adds_bos = adds_bos && out.bos >= 0;
    return out;
  }

  std::string chat_template() const {
    constexpr const char* kKey = "tokenizer.chat_template";
    return file_.has(kKey) ? file_.text(kKey) : "";
  }

  std::uint64_t hash() const {
    Hasher hasher;
    for (const auto& [key, value] : file_.metadata()) {
      if (!is_of_tokenizer(key)) continue;
      hasher.add(std::as_bytes(std::span(key)));
      hasher.add(value.bytes);
    }
    return hasher.digest();
  }

  std::vector<AddedToken> added(const std::vector<std::int64_t>& types) const {
    std::vector<AddedToken> added;
    for (std::size_t id = 0; id < types.size(); ++id) {
      const std::int64_t type = types[id];
      if (type != kControl && type != kUserDefined && type != kUnknown) continue;
      added.push_back({.id = static_cast<std::int32_t>(id), .special = type != kUserDefined});
    }
    return added;
  }

  std::unique_ptr<const Tokenizer> byte_bpe() const {
    constexpr const char* kPre = "tokenizer.ggml.pre";
    const std::string pre = file_.has(kPre) ? file_.text(kPre) : "default";
    auto rules = rules_of_gguf_name(pre);
    if (!rules) {
      refuse(fmt::format("the pre-tokenizer '{}' ({}) is not supported", printable_word(pre, 64),
                         kPre));
    }
    const bool llama3 = rules->front() == WordRule::kLlama3;
    ByteBpeFile out;
    out.path = file_.path();
    out.tokens = tokens();
    out.added = added(types(out.tokens.size()));
    out.merges = merges();
    out.rules = std::move(*rules);
    out.whole_words = llama3;
    out.adds_space = file_.has(kAddsSpace) && file_.flag(kAddsSpace);
    out.special = special(out.tokens.size(), /*adds_bos=*/llama3);
    out.chat_template = chat_template();
    out.hash = hash();
    return byte_bpe_tokenizer(std::move(out));
  }

  std::unique_ptr<const Tokenizer> spaced_bpe() const {
    SpacedBpeFile out;
    out.path = file_.path();
    out.tokens = tokens();
    out.scores = scores(out.tokens.size());
    const std::vector<std::int64_t> types = this->types(out.tokens.size());
    for (const std::int64_t type : types) {
      const bool other = type == kControl || type == kUnknown;
      out.kinds.push_back(type == kByte ? SpacedBpeFile::Kind::kByte
                          : other       ? SpacedBpeFile::Kind::kOther
                                        : SpacedBpeFile::Kind::kPlain);
    }
    out.added = added(types);
    out.adds_space = !file_.has(kAddsSpace) || file_.flag(kAddsSpace);
    out.special = special(out.tokens.size(), /*adds_bos=*/true);
    out.chat_template = chat_template();
    out.hash = hash();
    return spaced_bpe_tokenizer(std::move(out));
  }

  static constexpr const char* kAddsSpace = "tokenizer.ggml.add_space_prefix";
  const GgufFile& file_;
};

}  // namespace

std::unique_ptr<const Tokenizer> gguf_tokenizer(const GgufFile& file) {
  return Reader(file).read();
}

std::string gguf_vocabulary(const GgufFile& file) {
  std::string out;
  const auto number = [&](auto value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  std::uint64_t keys = 0;
  for (const auto& [key, value] : file.metadata())
    keys += is_of_tokenizer(key) ? 1 : 0;
  out = "GGUF";
  number(std::uint32_t{3});
  number(std::uint64_t{0});  // tensors
  number(keys);
  for (const auto& [key, value] : file.metadata()) {
    if (!is_of_tokenizer(key)) continue;
    number(std::uint64_t{key.size()});
    out += key;
    number(value.type);
    if (value.type == GgufType::kArray) {
      number(value.element);
      number(value.count);
    }
    out.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  }
  return out;
}

}  // namespace gradwire
