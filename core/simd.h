// One binary for several processors. A file named *_simd.cpp is compiled three times, for
// x86-64-v2, -v3 (AVX2, FMA) and -v4 (AVX-512), with GW_ISA naming the namespace, and defines there
// a table of plain functions over a range; the best table the processor supports is chosen at run
// time:
//
//   struct NormKernels { void (*rms_f32)(const float* x, float* y, std::int64_t begin, ...); };
//   GW_DECLARE_KERNELS(NormKernels, norm_kernels);            // in the header
//   namespace gradwire::GW_ISA { const NormKernels norm_kernels{&rms_f32}; }   // in *_simd.cpp
//   norm_kernels().rms_f32(...);                              // by the caller
//
// All three give the same bits, since ranks of one run may have different processors: such a file
// is compiled without fusing a * b + c, which only some of them can, and a floating-point sum over
// elements is made in a fixed number of lanes (core/lanes.h), never by an `omp simd reduction(+)`,
// whose lanes are the processor's.
//
// Such a file includes no standard containers or algorithms: an inline function that the compiler
// leaves out of line could be shared by the linker with code for lesser processors.
#pragma once

#include <cstdint>

namespace gradwire {

enum class Isa : std::uint8_t { kV2, kV3, kV4 };
Isa detect_isa();  // of this processor; GRADWIRE_ISA=v2|v3|v4 lowers it
const char* name_of(Isa isa);

template <class Table>
const Table& select_kernels(const Table& v2, const Table& v3, const Table& v4) {
  const Isa isa = detect_isa();
  return isa == Isa::kV4 ? v4 : isa == Isa::kV3 ? v3 : v2;
}

}  // namespace gradwire

#define GW_DECLARE_KERNELS(Table, name)                                       \
  namespace isa_v2 {                                                          \
  extern const Table name;                                                    \
  }                                                                           \
  namespace isa_v3 {                                                          \
  extern const Table name;                                                    \
  }                                                                           \
  namespace isa_v4 {                                                          \
  extern const Table name;                                                    \
  }                                                                           \
  inline const Table& name() {                                                \
    static const Table& table =                                               \
        ::gradwire::select_kernels(isa_v2::name, isa_v3::name, isa_v4::name); \
    return table;                                                             \
  }                                                                           \
  static_assert(true)
