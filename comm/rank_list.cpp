#include "comm/rank_list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gradwire {

std::string ranks_text(const std::vector<std::size_t>& ranks) {
  std::vector<std::string> runs;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1)
      ++last;
    runs.push_back(last == i ? fmt::format("{}", ranks[i])
                             : fmt::format("{} to {}", ranks[i], ranks[last]));
    i = last + 1;
  }
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(runs, ", "));
}

}  // namespace gradwire
