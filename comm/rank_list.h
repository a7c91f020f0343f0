// Ranks as people read them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace gradwire {

// "rank 3", "ranks 0 to 2, 5"; of ranks in ascending order.
std::string ranks_text(const std::vector<std::size_t>& ranks);

}  // namespace gradwire
