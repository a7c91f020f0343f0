#include "data/tokenizers/word_split.h"

#include <algorithm>
#include <span>
#include <utility>

#include <unicode/uchar.h>

#include "data/tokenizers/characters.h"

namespace gradwire {
namespace {

using Kind = CharacterKind;

// What a rule matches at the beginning of a piece, in characters; 0: nothing.
class Matcher {
 public:
  explicit Matcher(std::span<const Character> piece) : piece_(piece) {}

  std::size_t match(WordRule rule) const {
    switch (rule) {
      case WordRule::kGpt2: return gpt2();
      case WordRule::kLlama3: return llama3(3);
      case WordRule::kQwen2: return llama3(1);
      case WordRule::kDigits: return is(0, Kind::kNumber) ? 1 : 0;
      case WordRule::kNumbers: return run(0, Kind::kNumber);
      case WordRule::kThreeDigits: return three_digits();
      case WordRule::kSigns: return run_if(0, is_sign);
    }
    return 0;
  }

 private:
  bool is(std::size_t at, Kind kind) const { return at < piece_.size() && piece_[at].kind == kind; }
  std::uint32_t code(std::size_t at) const { return at < piece_.size() ? piece_[at].code : 0; }
  bool is_line_end(std::size_t at) const { return code(at) == '\n' || code(at) == '\r'; }

  template <class Predicate>
  std::size_t run_if(std::size_t from, const Predicate& holds) const {
    std::size_t to = from;
    while (to < piece_.size() && holds(piece_[to]))
      ++to;
    return to;
  }
  // The end of a run of one kind.
  std::size_t run(std::size_t from, Kind kind) const {
    return run_if(from, [kind](const Character& c) { return c.kind == kind; });
  }

  static bool is_sign(const Character& c) {
    constexpr std::string_view kMore = "$+<=>^~|";
    return u_ispunct(static_cast<UChar32>(c.code)) ||
           (c.code < 0x80 && kMore.find(static_cast<char>(c.code)) != std::string_view::npos);
  }
  std::size_t three_digits() const {
    constexpr std::size_t kLength = 3;
    const std::size_t end =
        run_if(0, [](const Character& c) { return c.code >= '0' && c.code <= '9'; });
    return end < kLength ? 0 : kLength;
  }

  // '(s|t|m|d|re|ve|ll), if `fold` in any case by the simple folding of Unicode.
  std::size_t contraction(bool fold) const {
    if (code(0) != '\'') return 0;
    const auto letter = [&](std::size_t at) {
      const auto c = static_cast<UChar32>(code(at));
      return fold ? u_foldCase(c, U_FOLD_CASE_DEFAULT) : c;
    };
    const UChar32 first = letter(1), second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const bool long_one = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                          (first == 'l' && second == 'l');
    return long_one ? 3 : 0;
  }

  // \s+(?!\S)|\s+ : space leaves its last character to the word that follows, if it has more.
  std::size_t space() const {
    const std::size_t end = run(0, Kind::kSpace);
    return end < piece_.size() && end > 1 ? end - 1 : end;
  }

  std::size_t gpt2() const {
    if (const std::size_t end = contraction(/*fold=*/false)) return end;
    const std::size_t begin = code(0) == ' ' ? 1 : 0;
    for (const Kind kind : {Kind::kLetter, Kind::kNumber, Kind::kOther})
      if (is(begin, kind)) return run(begin, kind);
    return space();
  }

  // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*
  // |\s*[\r\n]+|\s+(?!\S)|\s+
  std::size_t llama3(std::size_t digits) const {
    if (const std::size_t end = contraction(/*fold=*/true)) return end;
    if (is(0, Kind::kLetter)) return run(0, Kind::kLetter);
    if (is(0, Kind::kNumber)) return std::min(digits, run(0, Kind::kNumber));
    if (!is_line_end(0) && is(1, Kind::kLetter)) return run(1, Kind::kLetter);
    const std::size_t begin = code(0) == ' ' ? 1 : 0;
    if (is(begin, Kind::kOther)) {
      std::size_t end = run(begin, Kind::kOther);
      while (is_line_end(end))
        ++end;
      return end;
    }
    for (std::size_t end = run(0, Kind::kSpace); end > 0; --end)
      if (is_line_end(end - 1)) return end;
    return space();
  }

  std::span<const Character> piece_;
};

// Ends of the pieces into which a rule cuts characters [begin, end).
void cut(std::span<const Character> all, std::size_t begin, std::size_t end, WordRule rule,
         std::vector<std::size_t>& ends) {
  std::size_t unmatched = begin;
  while (begin < end) {
    const std::size_t matched = Matcher(all.subspan(begin, end - begin)).match(rule);
    if (matched == 0) {
      ++begin;
      continue;
    }
    if (unmatched < begin) ends.push_back(begin);
    begin += matched;
    ends.push_back(begin);
    unmatched = begin;
  }
  if (unmatched < end) ends.push_back(end);
}

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace

std::optional<WordRule> rule_of_regex(std::string_view regex) {
  if (regex == kGpt2Regex) return WordRule::kGpt2;
  if (regex == kLlama3Regex) return WordRule::kLlama3;
  if (regex == kQwen2Regex) return WordRule::kQwen2;
  return std::nullopt;
}

std::optional<std::vector<WordRule>> rules_of_gguf_name(std::string_view name) {
  using enum WordRule;
  if (name == "gpt-2") return {{kGpt2}};
  if (name == "smollm") return {{kDigits, kGpt2}};
  if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") return {{kLlama3}};
  if (name == "qwen2") return {{kQwen2}};
  if (name == "default") return {{kSigns, kGpt2, kNumbers, kThreeDigits}};
  return std::nullopt;
}

std::vector<std::string_view> split_words(std::string_view text,
                                          const std::vector<WordRule>& rules) {
  const std::vector<Character> all = characters_of(text);
  std::vector<std::size_t> ends;
  if (!all.empty()) ends.push_back(all.size());
  for (const WordRule rule : rules) {
    std::vector<std::size_t> finer;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      cut(all, begin, end, rule, finer);
      begin = end;
    }
    ends = std::move(finer);
  }
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    const std::size_t from = all[begin].begin, to = end < all.size() ? all[end].begin : text.size();
    words.push_back(text.substr(from, to - from));
    begin = end;
  }
  return words;
}

}  // namespace gradwire
