#include <cstddef>

#include "core/cuda/pack.h"
#include "core/ops/shape/shape_kernels.h"

namespace gradwire::cuda {
namespace {

// Element by element in the order of the output; an element is a word of the innermost run. Index:
// 32 bits where they are enough, since divisions of 64 take longer than the copy.
template <class Word, class Index>
struct Gather {
  Word* out;
  const Word* in;
  Index a, middle, b, inner;
  template <int kWidth>
  __device__ void at(std::int64_t n) const {
    Index rest = static_cast<Index>(n) / inner;
    const Index k = static_cast<Index>(n) - rest * inner;
    const Index i = rest % a;
    rest /= a;
    const Index m = rest % middle;
    rest /= middle;
    const Index j = rest % b;
    const Index o = rest / b;
    out[n] = in[(((o * a + i) * middle + m) * b + j) * inner + k];
  }
};

// Runs of one word, which a gather would read far apart: squares of words go through shared memory,
// read along b and written along a.
template <class Word>
struct Tiles {
  static constexpr int kSide = sizeof(Word) <= 4 ? 64 : 32;
  static constexpr int kRows = kBlock / kSide;  // of a square, moved together
  // Columns of the square begin in different banks of shared memory.
  static constexpr int kPitch = kSide + (sizeof(Word) < 4 ? 4 / static_cast<int>(sizeof(Word)) : 1);
  Word* out;
  const Word* in;
  std::int64_t a, middle, b;
  std::int64_t down, across, count;  // squares along a, along b, and altogether
};

template <class Word>
__global__ void __launch_bounds__(kBlock) tile_kernel(Tiles<Word> t) {
  constexpr int kSide = Tiles<Word>::kSide, kRows = Tiles<Word>::kRows;
  __shared__ Word square[kSide * Tiles<Word>::kPitch];
  const int column = static_cast<int>(threadIdx.x) % kSide;
  const int first = static_cast<int>(threadIdx.x) / kSide;
  for (std::int64_t unit = blockIdx.x; unit < t.count; unit += gridDim.x) {
    const std::int64_t left = unit % t.across * kSide, rest = unit / t.across;
    const std::int64_t top = rest % t.down * kSide, matrix = rest / t.down;
    const std::int64_t m = matrix % t.middle, o = matrix / t.middle;
#pragma unroll
    for (int k = first; k < kSide; k += kRows) {
      const std::int64_t i = top + k, j = left + column;
      if (i < t.a && j < t.b)
        square[k * Tiles<Word>::kPitch + column] = t.in[((o * t.a + i) * t.middle + m) * t.b + j];
    }
    __syncthreads();
#pragma unroll
    for (int k = first; k < kSide; k += kRows) {
      const std::int64_t i = top + column, j = left + k;
      if (i < t.a && j < t.b)
        t.out[((o * t.b + j) * t.middle + m) * t.a + i] = square[column * Tiles<Word>::kPitch + k];
    }
    __syncthreads();  // before the next square overwrites this one
  }
}

template <class Word>
bool fits(const Transpose& t) {
  return t.inner * t.size % static_cast<std::int64_t>(sizeof(Word)) == 0 &&
         aligned_for<1>(static_cast<Word*>(t.out), static_cast<const Word*>(t.in));
}

template <class Word, class Index>
void gather(Stream s, const Transpose& t, std::int64_t inner) {
  const auto index = [](std::int64_t x) { return static_cast<Index>(x); };
  each<1>(s, t.outer * t.a * t.middle * t.b * inner, true,
          Gather<Word, Index>{static_cast<Word*>(t.out), static_cast<const Word*>(t.in), index(t.a),
                              index(t.middle), index(t.b), index(inner)});
}

template <class Word>
void tiles(Stream s, const Transpose& t) {
  constexpr int kSide = Tiles<Word>::kSide;
  const std::int64_t down = (t.a + kSide - 1) / kSide, across = (t.b + kSide - 1) / kSide;
  const std::int64_t count = t.outer * t.middle * down * across;
  if (count == 0) return;
  launch(s, blocks_for(count, 1), tile_kernel<Word>,
         Tiles<Word>{static_cast<Word*>(t.out), static_cast<const Word*>(t.in), t.a, t.middle, t.b,
                     down, across, count});
}

template <class Word>
void move_words(Stream s, const Transpose& t) {
  const std::int64_t inner = t.inner * t.size / static_cast<std::int64_t>(sizeof(Word));
  if (inner == 1) return tiles<Word>(s, t);
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (t.outer * t.a * t.middle * t.b * inner < kMost) {
    return gather<Word, std::uint32_t>(s, t, inner);
  }
  gather<Word, std::int64_t>(s, t, inner);
}

}  // namespace

void transpose(Stream s, const Transpose& t) {
  if (fits<uint4>(t)) return move_words<uint4>(s, t);
  if (fits<std::uint64_t>(t)) return move_words<std::uint64_t>(s, t);
  if (fits<std::uint32_t>(t)) return move_words<std::uint32_t>(s, t);
  if (fits<std::uint16_t>(t)) return move_words<std::uint16_t>(s, t);
  move_words<std::uint8_t>(s, t);
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
