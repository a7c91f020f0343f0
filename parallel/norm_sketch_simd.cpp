#include "parallel/norm_sketch.h"
#include "parallel/norm_sketch_kernels.h"

namespace gradwire::GW_ISA {
namespace {

constexpr std::int64_t kWord = 32;

// x with its sign changed if the lowest bit is set.
float flipped(float x, std::uint32_t bits) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x) ^ (bits << 31));
}

// sums[i] += (+-) x[i]; the sign of element i is bit (first + i) of `signs`.
void add_signed(const float* x, std::int64_t n, const std::uint32_t* signs, std::int64_t first,
                float* sums) {
  std::int64_t i = 0;
  for (; i < n && (first + i) % kWord != 0; ++i)
    sums[i] += flipped(x[i], signs[(first + i) / kWord] >> ((first + i) % kWord));
  for (; i < n; i += kWord) {
    const std::uint32_t word = signs[(first + i) / kWord];
    const std::int64_t length = n - i < kWord ? n - i : kWord;
    for (std::int64_t j = 0; j < length; ++j)
      sums[i + j] += flipped(x[i + j], word >> j);
  }
}

void fold(const float* x, std::int64_t n, std::int64_t turn, const std::uint32_t* signs,
          float* sums) {
  const std::int64_t to_end = NormSketch::kWidth - turn;
  const std::int64_t head = n < to_end ? n : to_end;
  add_signed(x, head, signs, 0, sums + turn);
  add_signed(x + head, n - head, signs, head, sums);
}

}  // namespace

const NormSketchKernels norm_sketch_kernels = {fold};

}  // namespace gradwire::GW_ISA
