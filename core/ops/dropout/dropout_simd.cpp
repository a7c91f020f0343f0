#include "core/ops/dropout/dropout_kernels.h"
#include "core/ops/dropout/dropout_math.h"

namespace gradwire::GW_ISA {
namespace {

// Blocks of four numbers made side by side, then spread over the elements.
constexpr int kBlocks = 64;

template <class T>
void apply(void* y, const void* x, const DropoutMask& mask, std::int64_t begin, std::int64_t end) {
  using C = Compute<T>;
  const C scale = static_cast<C>(mask.scale);
  std::uint32_t words[4 * kBlocks];
  for (std::int64_t b = begin; b < end; b += 4 * kBlocks) {
    const std::uint64_t counter = (mask.first + static_cast<std::uint64_t>(b)) >> 2;
#pragma omp simd
    for (int k = 0; k < kBlocks; ++k) {
      const PhiloxBlock block = philox(mask.seed, counter + static_cast<std::uint64_t>(k));
      words[4 * k] = block.word[0];
      words[4 * k + 1] = block.word[1];
      words[4 * k + 2] = block.word[2];
      words[4 * k + 3] = block.word[3];
    }
    const std::int64_t n = end - b < 4 * kBlocks ? end - b : 4 * kBlocks;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const C kept = load<T>(x, b + i) * scale;
      store<T>(y, b + i, is_dropped(words[i], mask.threshold) ? C(0) : kept);
    }
  }
}

}  // namespace

const DropoutKernels dropout_kernels{{apply<float>, apply<double>, apply<Bf16>}};

}  // namespace gradwire::GW_ISA
