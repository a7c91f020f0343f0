#include "data/tokenizers/byte_bpe.h"

#include <array>
#include <unordered_map>

#include <fmt/format.h>

#include "core/printable.h"
#include "data/tokenizers/merge.h"
#include "data/tokenizers/normal_form.h"
#include "data/tokenizers/text_map.h"

namespace gradwire {
namespace {

constexpr int kBytes = 256;
constexpr std::uint32_t kFirstStandIn = 256;  // bytes that do not print are written from here on

bool prints(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// The byte that a code point stands for, -1 for none.
std::vector<int> make_bytes_of_code() {
  std::vector<int> byte_of(kFirstStandIn + kBytes, -1);
  std::uint32_t next = kFirstStandIn;
  for (int byte = 0; byte < kBytes; ++byte)
    byte_of[prints(byte) ? static_cast<std::uint32_t>(byte) : next++] = byte;
  return byte_of;
}

class ByteBpeTokenizer final : public Tokenizer {
 public:
  explicit ByteBpeTokenizer(ByteBpeFile file)
      : Tokenizer(file.path),
        rules_(std::move(file.rules)),
        whole_words_(file.whole_words),
        adds_space_(file.adds_space),
        composes_(file.composes) {
    special_ = file.special;
    chat_template_ = std::move(file.chat_template);
    hash_ = file.hash;
    check_special(std::ssize(file.tokens), file.unknown);
    add_tokens(file);
    for (int byte = 0; byte < kBytes; ++byte) {
      const auto found = ids_.find(std::string(1, static_cast<char>(byte)));
      byte_ids_[static_cast<std::size_t>(byte)] =
          found == ids_.end() ? file.unknown : found->second;
    }
    add_merges(file);
  }

  std::int64_t vocabulary() const override { return std::ssize(tokens_); }

  std::int32_t find(std::string_view written) const override {
    if (const std::int32_t id = added_.find(written); id >= 0) return id;
    const auto found = ids_.find(bytes_of_written(written));
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
  std::string token_bytes(std::int32_t id) const override {
    return tokens_[static_cast<std::size_t>(id)];
  }

  void check_special(std::int64_t vocabulary, std::int32_t unknown) const {
    for (const std::int32_t id : {special_.bos, special_.eos, special_.unk, special_.pad, unknown})
      if (id >= vocabulary) {
        refuse(fmt::format("a special token has the id {} in a vocabulary of {}", id, vocabulary));
      }
  }

  void add_tokens(const ByteBpeFile& file) {
    std::vector<bool> is_added(file.tokens.size());
    for (const AddedToken& token : file.added)
      is_added[static_cast<std::size_t>(token.id)] = true;
    tokens_.reserve(file.tokens.size());
    for (std::size_t id = 0; id < file.tokens.size(); ++id) {
      const std::string& written = file.tokens[id];
      std::string bytes = bytes_of_written(written);
      tokens_.push_back(is_added[id] ? written : bytes);
      if (bytes.empty()) continue;
      const bool fresh = ids_.emplace(std::move(bytes), static_cast<std::int32_t>(id)).second;
      if (!fresh && !is_added[id]) {
        refuse(fmt::format("the token '{}' appears twice", printable_word(written, 128)));
      }
    }
    for (const AddedToken& token : file.added) {
      std::string& written = tokens_[static_cast<std::size_t>(token.id)];
      if (!written.empty()) added_.add(written, token);
      if (token.special) written.clear();  // gives no text
    }
  }

  std::int32_t id_of(const std::string& bytes, const std::string& written) const {
    const auto found = ids_.find(bytes);
    if (found != ids_.end()) return found->second;
    refuse(fmt::format("a merge names '{}', which is no token", printable_word(written, 128)));
  }

  void add_merges(const ByteBpeFile& file) {
    merges_.reserve(file.merges.size());
    std::int32_t rank = 0;
    for (const auto& [left, right] : file.merges) {
      const std::string a = bytes_of_written(left), b = bytes_of_written(right);
      if (a.empty() || b.empty()) refuse(fmt::format("merge {} has an empty part", rank));
      const Merge merge{rank++, id_of(a + b, left + right)};
      merges_.insert_or_assign(pair_of(id_of(a, left), id_of(b, right)), merge);
    }
  }

  static std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
    constexpr int kIdBits = 32;
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << kIdBits |
           static_cast<std::uint32_t>(right);
  }

  void encode_piece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    std::string changed;
    if (composes_) piece = changed = composed(piece);
    if (adds_space_ && !piece.starts_with(' ')) piece = changed = " " + std::string(piece);
    for (const std::string_view word : split_words(piece, rules_))
      encode_word(word, ids);
  }

  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
    if (whole_words_) {
      if (const auto found = ids_.find(word); found != ids_.end()) {
        ids.push_back(found->second);
        return;
      }
    }
    std::vector<MergeSymbol> symbols;
    for (std::size_t at = 0; at < word.size(); ++at) {
      const std::int32_t id = byte_ids_[static_cast<unsigned char>(word[at])];
      if (id >= 0) symbols.push_back({id, static_cast<std::uint32_t>(at), 1});
    }
    merge_symbols<std::int32_t>(
        symbols, [this](const MergeSymbol& a, const MergeSymbol& b) -> std::optional<Merge> {
          const auto found = merges_.find(pair_of(a.id, b.id));
          if (found == merges_.end()) return std::nullopt;
          return found->second;
        });
    for (const MergeSymbol& symbol : symbols)
      ids.push_back(symbol.id);
  }

  using Merge = MergeResult<std::int32_t>;
  std::vector<std::string> tokens_;  // what each adds to a text
  TextMap<std::int32_t> ids_;        // by the bytes that merges join
  std::array<std::int32_t, kBytes> byte_ids_{};
  std::unordered_map<std::uint64_t, Merge> merges_;
  AddedTokens added_;
  std::vector<WordRule> rules_;
  bool whole_words_, adds_space_, composes_;
};

}  // namespace

std::string bytes_of_written(std::string_view written) {
  static const std::vector<int> byte_of = make_bytes_of_code();
  std::string bytes;
  for (std::size_t at = 0; at < written.size();) {
    const CodePoint point = first_code_point(written.substr(at));
    const int byte = point.bytes > 0 && point.value < byte_of.size() ? byte_of[point.value] : -1;
    if (byte < 0) return std::string(written);
    bytes.push_back(static_cast<char>(byte));
    at += point.bytes;
  }
  return bytes;
}

std::unique_ptr<const Tokenizer> byte_bpe_tokenizer(ByteBpeFile file) {
  return std::make_unique<ByteBpeTokenizer>(std::move(file));
}

}  // namespace gradwire
