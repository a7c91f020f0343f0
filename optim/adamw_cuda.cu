#include <algorithm>
#include <cstddef>

#include "core/cuda/pack.h"
#include "optim/adamw_kernels.h"

namespace gradwire::cuda {
namespace {

struct AdamWUpdate {
  AdamWMath update;
  AdamWArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<float, kWidth> value = load_pack<kWidth>(a.value + i);
    Pack<float, kWidth> m = load_pack<kWidth>(a.m + i);
    Pack<float, kWidth> v = load_pack<kWidth>(a.v + i);
    Pack<float, kWidth> grad{};
    if (a.grad != nullptr) grad = load_pack<kWidth>(a.grad + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      update(value.v[k], grad.v[k], m.v[k], v.v[k]);
    store_pack(a.value + i, value);
    store_pack(a.m + i, m);
    store_pack(a.v + i, v);
  }
};

// Elements that a block updates at a time.
constexpr std::int64_t kPiece = 16 * kBlock;

// Parameters that one launch updates: as many as fit the arguments of a kernel.
struct Group {
  static constexpr int kMost = 40;
  AdamWPart part[kMost];
  std::int64_t first[kMost + 1];  // piece of each; the last: how many there are
  bool aligned[kMost];
  int count = 0;
};
static_assert(sizeof(Group) <= 4096);

template <int kWidth>
__device__ void update_range(const AdamWUpdate& update, std::int64_t begin, std::int64_t end) {
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t i = begin + thread * kWidth; i + kWidth <= end; i += kBlock * kWidth)
    update.template at<kWidth>(i);
  const std::int64_t rest = begin + (end - begin) / kWidth * kWidth + thread;
  if (kWidth > 1 && rest < end) update.template at<1>(rest);
}

__global__ void __launch_bounds__(kBlock) group_kernel(const __grid_constant__ Group g) {
  int k = 0;
  for (std::int64_t piece = blockIdx.x; piece < g.first[g.count]; piece += gridDim.x) {
    while (piece >= g.first[k + 1])
      ++k;
    const AdamWPart& part = g.part[k];
    const AdamWUpdate update{part.math, part.arrays};
    const std::int64_t begin = (piece - g.first[k]) * kPiece;
    const std::int64_t end = begin + kPiece < part.n ? begin + kPiece : part.n;
    if (g.aligned[k]) {
      update_range<kPackWidth<float>>(update, begin, end);
    } else {
      update_range<1>(update, begin, end);
    }
  }
}

Group group_of(std::span<const AdamWPart> parts) {
  Group g;
  g.first[0] = 0;
  for (const AdamWPart& part : parts) {
    const AdamWArrays& a = part.arrays;
    g.part[g.count] = part;
    g.aligned[g.count] = aligned_for<kPackWidth<float>>(a.value, a.grad, a.m, a.v);
    g.first[g.count + 1] = g.first[g.count] + (part.n + kPiece - 1) / kPiece;
    ++g.count;
  }
  return g;
}

}  // namespace

void adamw_step(Stream s, std::span<const AdamWPart> parts) {
  while (!parts.empty()) {
    const std::size_t count = std::min<std::size_t>(parts.size(), Group::kMost);
    const Group g = group_of(parts.first(count));
    if (g.first[g.count] > 0) launch(s, blocks_for(g.first[g.count], 1), group_kernel, g);
    parts = parts.subspan(count);
  }
}

}  // namespace gradwire::cuda
