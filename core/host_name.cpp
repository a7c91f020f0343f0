#include "core/host_name.h"

#include <array>

#include <unistd.h>

namespace gradwire {

std::string host_name() {
  std::array<char, 64> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace gradwire
