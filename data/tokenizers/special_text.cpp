#include "data/tokenizers/special_text.h"

#include <algorithm>

#include "core/printable.h"
#include "data/tokenizers/characters.h"

namespace gradwire {
namespace {

std::string_view without_space_after(std::string_view text) {
  const std::vector<Character> all = characters_of(text);
  std::size_t size = text.size();
  for (auto c = all.rbegin(); c != all.rend() && c->kind == CharacterKind::kSpace; ++c)
    size = c->begin;
  return text.substr(0, size);
}

std::size_t space_before(std::string_view text) {
  std::size_t size = 0;
  while (size < text.size()) {
    const CodePoint point = first_code_point(text.substr(size));
    if (point.bytes == 0 || character_kind(point.value) != CharacterKind::kSpace) break;
    size += point.bytes;
  }
  return size;
}

}  // namespace

void AddedTokens::add(const std::string& written, AddedToken token) {
  tokens_.insert_or_assign(written, token);
  std::vector<std::size_t>& lengths = lengths_[static_cast<unsigned char>(written.front())];
  const auto at =
      std::lower_bound(lengths.begin(), lengths.end(), written.size(), std::greater<>());
  if (at == lengths.end() || *at != written.size()) lengths.insert(at, written.size());
}

std::int32_t AddedTokens::find(std::string_view written) const {
  const auto found = tokens_.find(written);
  return found == tokens_.end() ? -1 : found->second.id;
}

AddedTokens::Match AddedTokens::match(std::string_view text, SpecialText special) const {
  for (const std::size_t length : lengths_[static_cast<unsigned char>(text.front())]) {
    if (length > text.size()) continue;
    const auto found = tokens_.find(text.substr(0, length));
    if (found == tokens_.end()) continue;
    if (found->second.special && special == SpecialText::kText) continue;
    return {length, found->second};
  }
  return {};
}

void AddedTokens::cut(std::string_view text, SpecialText special,
                      const std::function<void(std::string_view)>& piece,
                      const std::function<void(std::int32_t)>& token) const {
  std::size_t begin = 0;  // of what is not given out yet
  for (std::size_t at = 0; at < text.size();) {
    const Match found = match(text.substr(at), special);
    if (found.size == 0) {
      ++at;
      continue;
    }
    std::string_view before = text.substr(begin, at - begin);
    if (found.token.takes_before) before = without_space_after(before);
    if (!before.empty()) piece(before);
    token(found.token.id);
    begin = at + found.size;
    if (found.token.takes_after) begin += space_before(text.substr(begin));
    at = begin;
  }
  if (begin < text.size()) piece(text.substr(begin));
}

}  // namespace gradwire
