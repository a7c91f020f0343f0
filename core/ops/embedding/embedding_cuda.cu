#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <cub/device/device_radix_sort.cuh>

#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/embedding/embedding_kernels.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

template <class To, class From>
struct Lookup {
  To* y;
  const From* table;
  const std::int32_t* ids;
  std::int64_t width;  // a multiple of kWidth
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const std::int64_t n = i / width;
    const Pack<From, kWidth> x = load_pack<kWidth>(table + ids[n] * width + (i - n * width));
    Pack<To, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      out.v[k] = static_cast<To>(static_cast<Compute<To>>(widen(x.v[k])));
    store_pack(y + i, out);
  }
};

struct Number {
  std::int32_t* out;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    out[i] = static_cast<std::int32_t>(i);
  }
};

// The ids in ascending order, and where each stood; equal ones keep their order.
struct Sorted {
  Tensor ids, order;
};

Sorted sorted(Context& cx, const Tensor& ids, std::int64_t rows) {
  Context scratch = cx.in(Segment::kScratch);
  const std::int64_t n = ids.numel();
  const Tensor places = Tensor::empty(scratch, {n}, DType::kI32);
  const Sorted s{Tensor::empty(scratch, {n}, DType::kI32),
                 Tensor::empty(scratch, {n}, DType::kI32)};
  each<1>(cx.stream, n, true, Number{places.data<std::int32_t>()});
  // Ids are not negative, and above the highest bit of the greatest there is nothing to sort by.
  const int bits =
      std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows - 1))));
  const auto* from = reinterpret_cast<const std::uint32_t*>(ids.data<std::int32_t>());
  auto* to = reinterpret_cast<std::uint32_t*>(s.ids.data<std::int32_t>());
  const auto sort = [&](void* room, std::size_t& bytes) {
    cuda_check(cub::DeviceRadixSort::SortPairs(room, bytes, from, to, places.data<std::int32_t>(),
                                               s.order.data<std::int32_t>(), static_cast<int>(n), 0,
                                               bits, handle_of(cx.stream)),
               "sort ids");
  };
  use_device(cx.stream.device);
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  const Tensor room = Tensor::empty(
      scratch, {static_cast<std::int64_t>(std::max<std::size_t>(bytes, 1))}, DType::kU8);
  sort(room.raw(), bytes);
  return s;
}

// Sorted ids are cut into chunks, whose sums are made at the same time: the terms of a frequent id
// lie in many. A run of equal ids within one chunk is added to its row at once. The sum of a run's
// part goes to partial[chunk, 0] if the run has begun before the chunk, and to partial[chunk, 1] if
// it begins there and goes on.
constexpr std::int64_t kChunk = 32;

template <class To, class From>
struct RowGradients {
  To* dtable;
  const From* dy;
  const std::int32_t* ids;    // sorted
  const std::int32_t* order;  // where they stood
  Compute<To>* partial;       // [chunks, 2, width]
  std::int64_t n, width;

  __device__ std::int64_t end_of(std::int64_t chunk) const {
    return (chunk + 1) * kChunk < n ? (chunk + 1) * kChunk : n;
  }
  // Whether the ids at i - 1 and i are of one run.
  __device__ bool goes_on(std::int64_t i) const { return i > 0 && i < n && ids[i - 1] == ids[i]; }
  __device__ void add(std::int64_t id, std::int64_t column, Compute<To> sum) const {
    To& out = dtable[id * width + column];
    out = static_cast<To>(widen(out) + sum);
  }
};

template <int kWidth, class To, class From>
__global__ void __launch_bounds__(kBlock)
    chunk_kernel(RowGradients<To, From> g, std::int64_t chunks) {
  using C = Compute<To>;
  __shared__ std::int32_t ids[kChunk + 2], order[kChunk];  // ids: with one neighbour on each side
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const std::int64_t begin = chunk * kChunk;
    const int count = static_cast<int>(g.end_of(chunk) - begin);
    const std::int64_t mine = begin + thread - 1;
    if (thread < count + 2) ids[thread] = mine >= 0 && mine < g.n ? g.ids[mine] : -1;
    if (thread < count) order[thread] = g.order[begin + thread];
    __syncthreads();
    for (std::int64_t c = thread * kWidth; c < g.width; c += kBlock * kWidth) {
      bool earlier = ids[0] == ids[1];
      Pack<C, kWidth> sum{};
#pragma unroll 4
      for (int i = 0; i < count; ++i) {
        const Pack<From, kWidth> d = load_pack<kWidth>(g.dy + order[i] * g.width + c);
#pragma unroll
        for (int k = 0; k < kWidth; ++k)
          sum.v[k] += static_cast<C>(widen(d.v[k]));
        const bool more = ids[i + 1] == ids[i + 2];
        if (more && i + 1 < count) continue;
        if (earlier || more) {
          store_pack(g.partial + (2 * chunk + (earlier ? 0 : 1)) * g.width + c, sum);
        } else {
          for (int k = 0; k < kWidth; ++k)
            g.add(ids[i + 1], c + k, sum.v[k]);
        }
        earlier = false;
        sum = Pack<C, kWidth>{};
      }
    }
    __syncthreads();  // before the next chunk overwrites this one
  }
}

// Adds up the parts of the runs that go on beyond the chunk in which they begin, in order.
template <class To, class From>
__global__ void __launch_bounds__(kBlock)
    long_run_kernel(RowGradients<To, From> g, std::int64_t chunks) {
  for (std::int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const std::int64_t begin = chunk * kChunk, end = g.end_of(chunk);
    if (!g.goes_on(end)) continue;
    const std::int32_t id = g.ids[end];
    if (g.goes_on(begin) && g.ids[begin] == id) continue;  // begins in an earlier chunk
    for (std::int64_t c = threadIdx.x; c < g.width; c += kBlock) {
      Compute<To> sum = g.partial[(2 * chunk + 1) * g.width + c];
      bool more = true;
      for (std::int64_t next = chunk + 1; more; ++next) {
        sum += g.partial[2 * next * g.width + c];
        const std::int64_t last = g.end_of(next) - 1;
        more = g.ids[last] == id && g.goes_on(last + 1);
      }
      g.add(id, c, sum);
    }
  }
}

// Calls f(Type<To>, Type<From>).
template <class F>
void on_types(DType to, DType from, const F& f) {
  on_float(to,
           [&](auto to_type) { on_float(from, [&](auto from_type) { f(to_type, from_type); }); });
}

}  // namespace

void embedding(Stream s, const Tensor& y, const Tensor& table, const Tensor& ids) {
  on_types(y.dtype(), table.dtype(), [&]<class To, class From>(Type<To>, Type<From>) {
    constexpr int kWidth = kPackWidth<To, From>;
    To* to = y.data<To>();
    const From* from = table.data<From>();
    const std::int64_t width = table.dim(1);
    each<kWidth>(s, y.numel(), width % kWidth == 0 && aligned_for<kWidth>(to, from),
                 Lookup<To, From>{to, from, ids.data<std::int32_t>(), width});
  });
}

void embedding_grad(Context& cx, const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  if (dy.numel() == 0) return;
  const Sorted s = sorted(cx, ids, dtable.dim(0));
  const std::int64_t n = ids.numel(), width = dtable.dim(1);
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
  Context scratch = cx.in(Segment::kScratch);
  on_types(dtable.dtype(), dy.dtype(), [&]<class To, class From>(Type<To>, Type<From>) {
    using C = Compute<To>;
    const Tensor partial = Tensor::empty(scratch, {chunks, 2, width}, kDTypeOf<C>);
    const RowGradients<To, From> g{dtable.data<To>(),
                                   dy.data<From>(),
                                   s.ids.data<std::int32_t>(),
                                   s.order.data<std::int32_t>(),
                                   partial.data<C>(),
                                   n,
                                   width};
    constexpr int kWidth = kPackWidth<C, From>;
    const bool packs = width % kWidth == 0 && aligned_for<kWidth>(g.dy, g.partial);
    launch(cx.stream, blocks_for(chunks, 1),
           packs ? chunk_kernel<kWidth, To, From> : chunk_kernel<1, To, From>, g, chunks);
    launch(cx.stream, blocks_for(chunks, 1), long_run_kernel<To, From>, g, chunks);
  });
}

}  // namespace gradwire::cuda
