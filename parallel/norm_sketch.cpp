#include "parallel/norm_sketch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/ops/reduce/reduce.h"
#include "core/parallel_for.h"
#include "core/rng.h"
#include "parallel/norm_sketch_kernels.h"

namespace gradwire {
namespace {

// Partial sketches, each of a fixed share of the blocks: the order of additions does not depend on
// the number of threads.
constexpr std::int64_t kPartials = 8;
constexpr std::int64_t kWordsPerBlock = NormSketch::kWidth / 32;
constexpr std::uint64_t kStream = 0x6e6f726d736b65u;  // apart from other uses of a step's number

// One run of up to kWidth elements.
struct Stretch {
  const float* x;
  std::int64_t n;
};

// The gradients themselves, or copies if they are on a GPU.
std::vector<Tensor> on_host(Context& cx, std::span<const Tensor> gradients) {
  std::vector<Tensor> values(gradients.begin(), gradients.end());
  if (cx.host == nullptr) return values;
  Context memory = cx.on_host().in(Segment::kComm);
  for (Tensor& t : values) {
    const Tensor copied = Tensor::empty(memory, t.shape(), t.dtype());
    copy(cx, copied, t);
    t = copied;
  }
  return values;
}

std::vector<Stretch> blocks_of(std::span<const Tensor> gradients) {
  std::vector<Stretch> blocks;
  for (const Tensor& t : gradients) {
    const float* x = t.data<float>();
    for (std::int64_t at = 0; at < t.numel(); at += NormSketch::kWidth)
      blocks.push_back({x + at, std::min(NormSketch::kWidth, t.numel() - at)});
  }
  return blocks;
}

// A turn for every block, so that a column of a matrix whose width divides kWidth does not fall
// into few sums, and a sign for every element.
void fold(const Stretch& block, std::uint64_t seed, std::int64_t index, float* sums) {
  constexpr std::size_t kDraws = kWordsPerBlock / 4 + 1;
  std::array<std::uint32_t, 4 * kDraws> words;
  for (std::size_t i = 0; i < kDraws; ++i) {
    const PhiloxBlock draw = philox(seed, static_cast<std::uint64_t>(index) * kDraws + i);
    std::copy_n(draw.word, 4, words.begin() + static_cast<std::ptrdiff_t>(4 * i));
  }
  const std::int64_t turn = words.back() % NormSketch::kWidth;
  norm_sketch_kernels().fold(block.x, block.n, turn, words.data(), sums);
}

}  // namespace

NormSketch::NormSketch(Context& cx) {
  Context comm = cx.on_host().in(Segment::kComm);
  partial_ = Tensor::zeros(comm, {kPartials, kWidth}, DType::kF32);
  sums_ = Tensor::zeros(comm, {kWidth}, DType::kF32);
}

double NormSketch::mean_norm(Context& cx, Communicator& comm, std::span<const Tensor> gradients,
                             std::uint64_t step) {
  Context host = cx.on_host();
  const std::vector<Tensor> values = on_host(cx, gradients);
  const std::vector<Stretch> blocks = blocks_of(values);
  const std::uint64_t seed = derive_seed(kStream, step);
  fill(host, partial_, 0.0);
  const auto count = static_cast<std::int64_t>(blocks.size());
  parallel_for(kPartials, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p)
      for (std::int64_t i = count * p / kPartials; i < count * (p + 1) / kPartials; ++i)
        fold(blocks[static_cast<std::size_t>(i)], seed, i, partial_.data<float>() + p * kWidth);
  });
  sum_axis(host, sums_, partial_, {1, kPartials, kWidth}, 0.0F);
  if (comm.size() > 1) {
    comm.all_reduce(sums_, ReduceOp::kMean, {host.stream, Traffic::kControl})->wait(host.stream);
  }
  return std::sqrt(sum_of_squares(host, {&sums_, 1}));
}

}  // namespace gradwire
