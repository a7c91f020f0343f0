#include "core/simd.h"

#include <cstdlib>
#include <string_view>

namespace gradwire {
namespace {

Isa processor_isa() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512cd")) {
    return Isa::kV4;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::kV3 : Isa::kV2;
}

}  // namespace

Isa detect_isa() {
  const Isa best = processor_isa();
  const char* asked = std::getenv("GRADWIRE_ISA");
  if (asked == nullptr) return best;
  const std::string_view name(asked);
  const Isa wanted = name == "v2" ? Isa::kV2 : name == "v3" ? Isa::kV3 : best;
  return wanted < best ? wanted : best;
}

const char* name_of(Isa isa) {
  return isa == Isa::kV4 ? "x86-64-v4" : isa == Isa::kV3 ? "x86-64-v3" : "x86-64-v2";
}

}  // namespace gradwire
