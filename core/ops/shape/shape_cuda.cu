#include <cstddef>

#include "core/cuda/pack.h"
#include "core/ops/shape/shape_kernels.h"

namespace gradwire::cuda {
namespace {

// Element by element in the order of the output; an element is a word of the innermost run.
template <class Word>
struct Gather {
  Word* out;
  const Word* in;
  std::int64_t a, middle, b, inner;
  template <int kWidth>
  __device__ void at(std::int64_t n) const {
    std::int64_t rest = n / inner;
    const std::int64_t k = n - rest * inner;
    const std::int64_t i = rest % a;
    rest /= a;
    const std::int64_t m = rest % middle;
    rest /= middle;
    const std::int64_t j = rest % b;
    const std::int64_t o = rest / b;
    out[n] = in[(((o * a + i) * middle + m) * b + j) * inner + k];
  }
};

template <class Word>
bool fits(const Transpose& t) {
  return t.inner * t.size % static_cast<std::int64_t>(sizeof(Word)) == 0 &&
         aligned_for<1>(static_cast<Word*>(t.out), static_cast<const Word*>(t.in));
}

template <class Word>
void gather(Stream s, const Transpose& t) {
  const std::int64_t inner = t.inner * t.size / static_cast<std::int64_t>(sizeof(Word));
  each<1>(s, t.outer * t.a * t.middle * t.b * inner, true,
          Gather<Word>{static_cast<Word*>(t.out), static_cast<const Word*>(t.in), t.a, t.middle,
                       t.b, inner});
}

}  // namespace

void transpose(Stream s, const Transpose& t) {
  if (fits<uint4>(t)) return gather<uint4>(s, t);
  if (fits<std::uint64_t>(t)) return gather<std::uint64_t>(s, t);
  if (fits<std::uint32_t>(t)) return gather<std::uint32_t>(s, t);
  if (fits<std::uint16_t>(t)) return gather<std::uint16_t>(s, t);
  gather<std::uint8_t>(s, t);
}

void copy_blocks(Stream s, const BlockCopy& c) {
  if (c.count == 0 || c.bytes == 0) return;
  use_device(s.device);
  cuda_check(
      cudaMemcpy2DAsync(c.to, static_cast<std::size_t>(c.to_stride), c.from,
                        static_cast<std::size_t>(c.from_stride), static_cast<std::size_t>(c.bytes),
                        static_cast<std::size_t>(c.count), cudaMemcpyDeviceToDevice, handle_of(s)),
      "copy blocks");
}

}  // namespace gradwire::cuda
