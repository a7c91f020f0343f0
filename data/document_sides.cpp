#include "data/document_sides.h"

#include <algorithm>
#include <cmath>

namespace gradwire {
namespace {

// Near to and not after `at`: between two lines, or two words, or two characters.
std::size_t place_to_cut(const std::string& text, std::int64_t at) {
  if (at <= 0) return 0;
  if (at >= std::ssize(text)) return text.size();
  auto place = static_cast<std::size_t>(at);
  for (const char gap : {'\n', ' '}) {
    const std::size_t before = text.rfind(gap, place);
    if (before != std::string::npos && before > 0) return before;
  }
  while (place > 0 && (static_cast<unsigned char>(text[place]) & 0xC0u) == 0x80u)
    --place;
  return place;
}

void trim(std::string& text) {
  const std::size_t begin = std::min(text.find_first_not_of("\n "), text.size());
  text.erase(0, begin);
  while (text.ends_with('\n'))
    text.pop_back();
}

}  // namespace

SidePlan plan_sides(Corpus& corpus, const SplitConfig& split) {
  SidePlan plan{split};
  if (split.valid_share <= 0) return plan;
  corpus.rewind();
  std::string document;
  std::int64_t bytes = 0;
  bool held_out = false, trained = false;
  while (corpus.next(document)) {
    (is_held_out(split, corpus.documents() - 1) ? held_out : trained) = true;
    if (held_out && trained) return plan;
    bytes += std::ssize(document);
  }
  plan.tail_from =
      static_cast<std::int64_t>(std::floor(static_cast<double>(bytes) * (1.0 - split.valid_share)));
  return plan;
}

Side::Side(Corpus& corpus, const SidePlan& plan, bool held_out)
    : corpus_(corpus), plan_(plan), held_out_(held_out) {
  corpus_.rewind();
}

bool Side::next(std::string& document) {
  while (corpus_.next(document)) {
    if (plan_.tail_from < 0) {
      if (is_held_out(plan_.split, corpus_.documents() - 1) == held_out_) return true;
      continue;
    }
    const std::int64_t begin = text_before_;
    text_before_ += std::ssize(document);
    const std::size_t cut = place_to_cut(document, plan_.tail_from - begin);
    held_out_ ? document.erase(0, cut) : document.erase(cut);
    trim(document);
    if (!document.empty()) return true;
  }
  return false;
}

}  // namespace gradwire
