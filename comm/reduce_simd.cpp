#include "comm/combine_kernels.h"
#include "core/hd.h"

namespace gradwire::GW_ISA {
namespace {

struct Add {
  template <class C>
  GW_HD static C join(C a, C b) {
    return static_cast<C>(a + b);
  }
};
// `b != b` takes a NaN over; once there it stays, because no comparison with it holds.
struct Max {
  template <class C>
  GW_HD static C join(C a, C b) {
    return b > a || b != b ? b : a;
  }
};
struct Min {
  template <class C>
  GW_HD static C join(C a, C b) {
    return b < a || b != b ? b : a;
  }
};

struct Or {
  template <class C>
  GW_HD static C join(C a, C b) {
    return static_cast<C>(a | b);
  }
};

// Accumulates a block at a time on the stack: each source is read once, dst is written once, and
// only after its own block has been read.
template <class T, class Join, bool kScaled>
void reduce(void* dst, const void* const* srcs, int sources, std::int64_t n) {
  using C = Compute<T>;
  constexpr std::int64_t kBlock = 512;
  alignas(64) C acc[kBlock];
  const C factor = static_cast<C>(1.0 / static_cast<double>(sources));
  T* out = static_cast<T*>(dst);
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t len = n - begin < kBlock ? n - begin : kBlock;
    const T* first = static_cast<const T*>(srcs[0]) + begin;
    for (std::int64_t i = 0; i < len; ++i)
      acc[i] = static_cast<C>(first[i]);
    for (int s = 1; s < sources; ++s) {
      const T* src = static_cast<const T*>(srcs[s]) + begin;
      for (std::int64_t i = 0; i < len; ++i)
        acc[i] = Join::join(acc[i], static_cast<C>(src[i]));
    }
    for (std::int64_t i = 0; i < len; ++i)
      out[begin + i] = static_cast<T>(kScaled ? static_cast<C>(acc[i] * factor) : acc[i]);
  }
}

template <class Join>
constexpr CombineKernels::Row row() {
  return {{reduce<float, Join, false>, reduce<double, Join, false>, reduce<Bf16, Join, false>,
           reduce<std::int32_t, Join, false>, reduce<std::int64_t, Join, false>,
           reduce<std::uint8_t, Join, false>}};
}

}  // namespace

const CombineKernels combine_kernels{
    row<Add>(),
    {{reduce<float, Add, true>, reduce<double, Add, true>, reduce<Bf16, Add, true>}},
    row<Max>(),
    row<Min>(),
    {{nullptr, nullptr, nullptr, reduce<std::int32_t, Or, false>, reduce<std::int64_t, Or, false>,
      reduce<std::uint8_t, Or, false>}}};

}  // namespace gradwire::GW_ISA
