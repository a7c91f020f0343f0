#include "data/tokenizers/word_piece.h"

#include <algorithm>

#include <fmt/format.h>
#include <unicode/uchar.h>

#include "core/printable.h"
#include "data/tokenizers/characters.h"
#include "data/tokenizers/normal_form.h"
#include "data/tokenizers/text_map.h"

namespace gradwire {
namespace {

constexpr std::uint32_t kReplacement = 0xFFFD;

void append_code_point(std::uint32_t code, std::string& text) {
  constexpr std::uint32_t kTail = 0x80, kTailBits = 0x3F;
  const auto put = [&](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(kTail | (code & kTailBits));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(kTail | (code >> 6 & kTailBits));
    put(kTail | (code & kTailBits));
  } else {
    put(0xF0 | code >> 18);
    put(kTail | (code >> 12 & kTailBits));
    put(kTail | (code >> 6 & kTailBits));
    put(kTail | (code & kTailBits));
  }
}

std::uint32_t category_of(std::uint32_t code) {
  return U_MASK(u_charType(static_cast<UChar32>(code)));
}

bool is_dropped(std::uint32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  constexpr std::uint32_t kOther = U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK | U_GC_CS_MASK;
  return code == 0 || code == kReplacement || (category_of(code) & kOther) != 0;
}

// The blocks that BERT cuts: CJK unified ideographs with extensions A to E, and compatibility ones.
bool is_ideograph(std::uint32_t code) {
  constexpr std::pair<std::uint32_t, std::uint32_t> kBlocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
  };
  return std::any_of(std::begin(kBlocks), std::end(kBlocks), [code](const auto& block) {
    return code >= block.first && code <= block.second;
  });
}

// Punctuation of Unicode, and what ASCII has besides letters, digits and space.
bool is_punctuation(std::uint32_t code) {
  const bool ascii = (code >= 0x21 && code <= 0x2F) || (code >= 0x3A && code <= 0x40) ||
                     (code >= 0x5B && code <= 0x60) || (code >= 0x7B && code <= 0x7E);
  return ascii || (category_of(code) & U_GC_P_MASK) != 0;
}

std::string lower_case(std::string_view text) {
  constexpr std::uint32_t kDottedI = 0x130;  // the one with two characters in lower case
  std::string out;
  for (const Character& c : characters_of(text)) {
    if (c.code == kDottedI) {
      out += "i\u0307";
    } else {
      append_code_point(static_cast<std::uint32_t>(u_tolower(static_cast<UChar32>(c.code))), out);
    }
  }
  return out;
}

std::string without_accents(std::string_view text) {
  std::string out;
  for (const Character& c : characters_of(decomposed(text)))
    if ((category_of(c.code) & U_GC_MN_MASK) == 0) append_code_point(c.code, out);
  return out;
}

class WordPieceTokenizer final : public Tokenizer {
 public:
  explicit WordPieceTokenizer(WordPieceFile file) : Tokenizer(file.path), file_(std::move(file)) {
    special_ = file_.special;
    chat_template_ = file_.chat_template;
    hash_ = file_.hash;
    if (file_.unknown < 0 || file_.unknown >= vocabulary()) {
      refuse("the vocabulary has no token for unknown words");
    }
    for (std::size_t id = 0; id < file_.tokens.size(); ++id) {
      const std::string& written = file_.tokens[id];
      longest_ = std::max(longest_, written.size());
      if (ids_.emplace(written, static_cast<std::int32_t>(id)).second) continue;
      refuse(fmt::format("the token '{}' appears twice", printable_word(written, 128)));
    }
    gives_text_.assign(file_.tokens.size(), true);
    for (const AddedToken& token : file_.added) {
      added_.add(file_.tokens[static_cast<std::size_t>(token.id)], token);
      if (token.special) gives_text_[static_cast<std::size_t>(token.id)] = false;
    }
  }

  std::int64_t vocabulary() const override { return std::ssize(file_.tokens); }
  bool drops_first_space() const override { return true; }

  std::int32_t find(std::string_view written) const override {
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
  // Words are set apart by spaces, the signs that end sentences and clauses by none.
  std::string token_bytes(std::int32_t id) const override {
    const auto at = static_cast<std::size_t>(id);
    const std::string& written = file_.tokens[at];
    if (!gives_text_[at] || written.empty()) return {};
    if (written.starts_with(file_.prefix)) return written.substr(file_.prefix.size());
    constexpr std::string_view kClosing = ".,?!";
    return kClosing.find(written.front()) == std::string_view::npos ? " " + written : written;
  }

  std::string normal(std::string_view piece) const {
    std::string text;
    for (const Character& c : characters_of(piece)) {
      if (file_.cleans && is_dropped(c.code)) continue;
      const bool alone = file_.cuts_ideographs && is_ideograph(c.code);
      const bool space = file_.cleans && c.kind == CharacterKind::kSpace;
      if (alone) text.push_back(' ');
      append_code_point(space ? ' ' : c.code, text);
      if (alone) text.push_back(' ');
    }
    if (file_.strips_accents) text = without_accents(text);
    return file_.lower_cases ? lower_case(text) : text;
  }

  void encode_piece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    const std::string text = normal(piece);
    const std::vector<Character> all = characters_of(text);
    const auto begin_of = [&](std::size_t i) {
      return i < all.size() ? all[i].begin : text.size();
    };
    for (std::size_t i = 0; i < all.size();) {
      std::size_t end = i + 1;
      if (all[i].kind != CharacterKind::kSpace) {
        const auto goes_on = [](const Character& c) {
          return c.kind != CharacterKind::kSpace && !is_punctuation(c.code);
        };
        if (goes_on(all[i])) {
          while (end < all.size() && goes_on(all[end]))
            ++end;
        }
        const std::string_view word =
            std::string_view(text).substr(begin_of(i), begin_of(end) - begin_of(i));
        encode_word(word, static_cast<std::int64_t>(end - i), ids);
      }
      i = end;
    }
  }

  void encode_word(std::string_view word, std::int64_t characters,
                   std::vector<std::int32_t>& ids) const {
    const std::size_t before = ids.size();
    if (characters <= file_.longest_word) {
      while (!word.empty()) {
        const std::string prefix = ids.size() == before ? "" : file_.prefix;
        const std::size_t taken = longest_match(prefix, word, ids);
        if (taken == 0) break;
        word.remove_prefix(taken);
      }
      if (word.empty()) return;
    }
    ids.resize(before);
    ids.push_back(file_.unknown);
  }

  // Appends the longest token that is `prefix` and a beginning of `word`; bytes of the word in it,
  // or 0.
  std::size_t longest_match(const std::string& prefix, std::string_view word,
                            std::vector<std::int32_t>& ids) const {
    std::string tried = prefix;
    tried += word.substr(0, longest_);
    for (; tried.size() > prefix.size(); tried.pop_back()) {
      const auto found = ids_.find(tried);
      if (found == ids_.end()) continue;
      ids.push_back(found->second);
      return tried.size() - prefix.size();
    }
    return 0;
  }

  WordPieceFile file_;
  TextMap<std::int32_t> ids_;
  AddedTokens added_;
  std::vector<bool> gives_text_;  // by id
  std::size_t longest_ = 0;       // token, in bytes
};

}  // namespace

std::unique_ptr<const Tokenizer> word_piece_tokenizer(WordPieceFile file) {
  return std::make_unique<WordPieceTokenizer>(std::move(file));
}

}  // namespace gradwire
