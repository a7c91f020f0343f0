// Byte pair encoding (Sennrich, Haddow and Birch, ACL 2016) of one word: of all pairs of neighbours
// that may merge, the one with the lowest rank does, of equals the leftmost, until none may. With a
// heap of pairs it takes O(n log n), so that a word of a megabyte, which a hostile text may have,
// is no trap.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <tuple>
#include <vector>

namespace gradwire {

struct MergeSymbol {
  std::int32_t id;      // its token; -1 if it is none
  std::uint32_t begin;  // within the word, in bytes
  std::uint32_t size;
};

template <class Rank>
struct MergeResult {
  Rank rank;
  std::int32_t id;
};

// find(left, right) -> std::optional<MergeResult<Rank>>: what two neighbours merge to. It must not
// depend on anything but the two symbols.
template <class Rank, class Find>
void merge_symbols(std::vector<MergeSymbol>& symbols, const Find& find) {
  using Candidate =
      std::tuple<Rank, std::size_t, std::uint32_t, std::int32_t>;  // rank, left, size, id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const std::size_t none = symbols.size();
  std::vector<std::size_t> before(none), after(none);
  const auto offer = [&](std::size_t left) {
    if (left == none || after[left] == none) return;
    const MergeSymbol &a = symbols[left], &b = symbols[after[left]];
    if (const std::optional<MergeResult<Rank>> merged = find(a, b))
      candidates.emplace(merged->rank, left, a.size + b.size, merged->id);
  };
  for (std::size_t i = 0; i < none; ++i) {
    before[i] = i == 0 ? none : i - 1;
    after[i] = i + 1;
  }
  for (std::size_t i = 0; i < none; ++i)
    offer(i);
  while (!candidates.empty()) {
    const auto [rank, left, size, id] = candidates.top();
    candidates.pop();
    // Outdated if either has merged since: then they are longer, or the left one is gone.
    if (symbols[left].size == 0 || after[left] == none) continue;
    const std::size_t right = after[left];
    if (symbols[left].size + symbols[right].size != size) continue;
    symbols[left].size = size;
    symbols[left].id = id;
    symbols[right].size = 0;
    after[left] = after[right];
    if (after[left] != none) before[after[left]] = left;
    offer(before[left]);
    offer(left);
  }
  std::erase_if(symbols, [](const MergeSymbol& s) { return s.size == 0; });
}

}  // namespace gradwire
