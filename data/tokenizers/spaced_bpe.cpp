#include "data/tokenizers/spaced_bpe.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "core/printable.h"
#include "data/tokenizers/characters.h"
#include "data/tokenizers/merge.h"
#include "data/tokenizers/text_map.h"

namespace gradwire {
namespace {

constexpr std::string_view kSpace = "\u2581";

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t found = std::min(text.find(from, at), text.size());
    out += text.substr(at, found - at);
    if (found < text.size()) out += to;
    at = found + from.size();
  }
  return out;
}

class SpacedBpeTokenizer final : public Tokenizer {
 public:
  explicit SpacedBpeTokenizer(SpacedBpeFile file)
      : Tokenizer(file.path), scores_(std::move(file.scores)), adds_space_(file.adds_space) {
    special_ = file.special;
    chat_template_ = std::move(file.chat_template);
    hash_ = file.hash;
    bytes_.fill(-1);
    tokens_.reserve(file.tokens.size());
    for (std::size_t id = 0; id < file.tokens.size(); ++id)
      add(file.tokens[id], file.kinds[id], static_cast<std::int32_t>(id));
    for (const AddedToken& token : file.added) {
      const std::string& written = file.tokens[static_cast<std::size_t>(token.id)];
      if (!written.empty()) added_.add(replaced(written, kSpace, " "), token);
      if (!token.special)
        tokens_[static_cast<std::size_t>(token.id)] = replaced(written, kSpace, " ");
    }
    const auto missing = std::find(bytes_.begin(), bytes_.end(), -1);
    if (missing != bytes_.end() && special_.unk < 0) {
      refuse(fmt::format("the vocabulary has no token for the byte {} and no unknown token",
                         missing - bytes_.begin()));
    }
  }

  std::int64_t vocabulary() const override { return std::ssize(tokens_); }
  bool drops_first_space() const override { return adds_space_; }

  std::int32_t find(std::string_view written) const override {
    if (const std::int32_t id = added_.find(replaced(written, kSpace, " ")); id >= 0) return id;
    const auto found = ids_.find(written);
    return found == ids_.end() ? -1 : found->second;
  }

  std::vector<std::int32_t> encode(std::string_view text, SpecialText special) const override {
    std::vector<std::int32_t> ids;
    added_.cut(
        text, special, [&](std::string_view piece) { encode_piece(piece, ids); },
        [&](std::int32_t id) { ids.push_back(id); });
    return ids;
  }

 private:
  using Merge = MergeResult<double>;

  std::string token_bytes(std::int32_t id) const override {
    return tokens_[static_cast<std::size_t>(id)];
  }

  void add(const std::string& written, SpacedBpeFile::Kind kind, std::int32_t id) {
    if (!std::isfinite(scores_[static_cast<std::size_t>(id)])) {
      refuse(fmt::format("the score of token {} is not a number", id));
    }
    std::string text;
    if (kind == SpacedBpeFile::Kind::kByte) {
      const std::size_t byte = byte_of(written, id);
      bytes_[byte] = id;
      text.push_back(static_cast<char>(byte));
    } else if (kind == SpacedBpeFile::Kind::kPlain && !written.empty()) {
      text = replaced(written, kSpace, " ");
      if (!ids_.emplace(written, id).second) {
        refuse(fmt::format("the token '{}' appears twice", printable_word(written, 128)));
      }
    }
    tokens_.push_back(std::move(text));
  }

  // Of "<0x0A>".
  std::size_t byte_of(std::string_view written, std::int32_t id) const {
    constexpr std::size_t kLength = 6;
    constexpr int kBase = 16;
    std::uint8_t byte = 0;
    const bool framed =
        written.size() == kLength && written.starts_with("<0x") && written.ends_with('>');
    if (framed) {
      const char* const end = written.data() + kLength - 1;
      if (std::from_chars(written.data() + 3, end, byte, kBase).ptr == end) return byte;
    }
    refuse(
        fmt::format("token {} is a byte, but it is written '{}'", id, printable_word(written, 64)));
  }

  void encode_piece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    const std::string text =
        (adds_space_ ? std::string(kSpace) : "") + replaced(piece, " ", kSpace);
    const std::vector<Character> characters = characters_of(text);
    std::vector<MergeSymbol> symbols;
    for (std::size_t i = 0; i < characters.size(); ++i) {
      const std::uint32_t begin = characters[i].begin;
      const std::size_t end = i + 1 < characters.size() ? characters[i + 1].begin : text.size();
      const auto size = static_cast<std::uint32_t>(end - begin);
      symbols.push_back({id_of(std::string_view(text).substr(begin, size)), begin, size});
    }
    merge_symbols<double>(
        symbols, [&](const MergeSymbol& a, const MergeSymbol& b) -> std::optional<Merge> {
          if (a.size + b.size > kMostPieceBytes) return std::nullopt;
          const std::int32_t id = id_of(std::string_view(text).substr(a.begin, a.size + b.size));
          if (id < 0) return std::nullopt;
          return Merge{-scores_[static_cast<std::size_t>(id)], id};
        });
    bool after_unknown = false;
    for (const MergeSymbol& symbol : symbols) {
      if (symbol.id >= 0) {
        ids.push_back(symbol.id);
        after_unknown = false;
      } else {
        after_unknown =
            fall_back(std::string_view(text).substr(symbol.begin, symbol.size), after_unknown, ids);
      }
    }
  }

  std::int32_t id_of(std::string_view written) const {
    const auto found = ids_.find(written);
    return found == ids_.end() ? -1 : found->second;
  }

  // Appends the tokens of the bytes of a character, or else unk. True if it ends with unk.
  bool fall_back(std::string_view character, bool after_unknown,
                 std::vector<std::int32_t>& ids) const {
    const auto token = [this](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    const bool known = std::all_of(character.begin(), character.end(),
                                   [&](char byte) { return token(byte) >= 0; });
    if (known) {
      for (const char byte : character)
        ids.push_back(token(byte));
    } else if (!after_unknown) {
      ids.push_back(special_.unk);
    }
    return !known;
  }

  std::vector<std::string> tokens_;  // what each adds to a text
  TextMap<std::int32_t> ids_;        // of plain tokens, as they are written
  std::array<std::int32_t, 256> bytes_{};
  std::vector<double> scores_;
  AddedTokens added_;
  bool adds_space_;
};

}  // namespace

std::unique_ptr<const Tokenizer> spaced_bpe_tokenizer(SpacedBpeFile file) {
  return std::make_unique<SpacedBpeTokenizer>(std::move(file));
}

}  // namespace gradwire
