#include "core/simd.h"

#include <cstdlib>
#include <string_view>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

// The runs per instruction set rely on it: a variable that is ignored would repeat the same
// kernels.
TEST(Simd, EnvironmentLowersTheInstructionSet) {
  const char* asked = std::getenv("GRADWIRE_ISA");
  if (asked == nullptr) {
    EXPECT_EQ(select_kernels<int>(2, 3, 4), 2 + static_cast<int>(detect_isa()));
    return;
  }
  const Isa most = std::string_view(asked) == "v2"   ? Isa::kV2
                   : std::string_view(asked) == "v3" ? Isa::kV3
                                                     : Isa::kV4;
  EXPECT_LE(detect_isa(), most);
}

}  // namespace
}  // namespace gradwire
