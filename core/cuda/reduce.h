// Sums over rows and over columns of anything that has a value at (row, column). How they are cut
// depends on sizes alone and parts are added in order: a result repeats bit for bit.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/cuda/launch.h"
#include "core/ops/axis.h"
#include "core/tensor.h"

namespace gradwire::cuda {

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// Combines one value of every thread; every thread of the block calls it and gets the result.
template <class T, class Op>
__device__ T block_reduce(T x, Op op) {
  __shared__ T of_warp[kBlock / kWarp];
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    x = op(x, __shfl_xor_sync(0xFFFFFFFFu, x, offset));
  __syncthreads();  // results of an earlier call have been read
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = x;
  __syncthreads();
  T all = of_warp[0];
#pragma unroll
  for (int w = 1; w < kBlock / kWarp; ++w)
    all = op(all, of_warp[w]);
  return all;
}

// [rows, length] cut into `chunks` pieces of `piece` elements per row.
struct RowCut {
  std::int64_t rows, length, piece, chunks;
};
inline RowCut cut_rows(std::int64_t rows, std::int64_t length, std::int64_t piece) {
  return {rows, length, piece, std::max<std::int64_t>(1, (length + piece - 1) / piece)};
}

// put(unit, sum) for unit = row * chunks + chunk. A thread adds its own few in Acc, the block in
// double.
template <class Acc, class F, class Put>
__global__ void __launch_bounds__(kBlock) row_sum_kernel(F value_at, Put put, RowCut cut) {
  for (std::int64_t unit = blockIdx.x; unit < cut.rows * cut.chunks; unit += gridDim.x) {
    const std::int64_t row = unit / cut.chunks;
    const std::int64_t begin = unit % cut.chunks * cut.piece;
    const std::int64_t end = begin + cut.piece < cut.length ? begin + cut.piece : cut.length;
    Acc mine = 0;
#pragma unroll 4
    for (std::int64_t i = begin + threadIdx.x; i < end; i += kBlock)
      mine += static_cast<Acc>(value_at(row * cut.length + i));
    const double sum = block_reduce(static_cast<double>(mine), Plus{});
    if (threadIdx.x == 0) put(unit, sum);
  }
}

struct PutDouble {
  double* out;
  __device__ void operator()(std::int64_t i, double sum) const { out[i] = sum; }
};
struct DoubleAt {
  const double* in;
  __device__ double operator()(std::int64_t i) const { return in[i]; }
};

// put(row, sum of value_at(row * length + i) over i < length) for every row.
template <class Acc, class F, class Put>
void row_sums(Context& cx, std::int64_t rows, std::int64_t length, const F& value_at,
              const Put& put) {
  constexpr std::int64_t kPiece = 64 * kBlock;
  const RowCut cut = cut_rows(rows, length, kPiece);
  if (cut.chunks == 1) {
    return launch(cx.stream, blocks_for(rows, 1), row_sum_kernel<Acc, F, Put>, value_at, put, cut);
  }
  Context scratch = cx.in(Segment::kScratch);
  const Tensor partial = Tensor::empty(scratch, {rows, cut.chunks}, DType::kF64);
  double* sums = partial.data<double>();
  launch(cx.stream, blocks_for(rows * cut.chunks, 1), row_sum_kernel<Acc, F, PutDouble>, value_at,
         PutDouble{sums}, cut);
  launch(cx.stream, blocks_for(rows, 1), row_sum_kernel<double, DoubleAt, Put>, DoubleAt{sums}, put,
         cut_rows(rows, cut.chunks, cut.chunks));
}

// [outer, length, inner]: strips of kWarp columns, `chunks` chunks of `piece` rows; the last chunks
// may be short or empty.
struct ColumnCut {
  std::int64_t outer, length, inner;
  std::int64_t strips, piece, chunks;
};
inline ColumnCut cut_columns(std::int64_t outer, std::int64_t length, std::int64_t inner,
                             std::int64_t chunks) {
  return {outer, length, inner, (inner + kWarp - 1) / kWarp, (length + chunks - 1) / chunks,
          chunks};
}

// partial[o, chunk, column] = sum of value_at(row, column) over the chunk's rows o * length + l.
template <class C, class F>
__global__ void __launch_bounds__(kBlock) column_sum_kernel(F value_at, C* partial, ColumnCut cut) {
  constexpr int kRows = kBlock / kWarp;
  __shared__ C sums[kBlock];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t units = cut.outer * cut.chunks * cut.strips;
  for (std::int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const std::int64_t column = unit % cut.strips * kWarp + lane;
    const std::int64_t slot = unit / cut.strips;  // o * chunks + chunk
    const std::int64_t top = slot / cut.chunks * cut.length;
    const std::int64_t begin = slot % cut.chunks * cut.piece;
    const std::int64_t end = begin + cut.piece < cut.length ? begin + cut.piece : cut.length;
    C sum = 0;
    if (column < cut.inner) {
      for (std::int64_t l = begin + first; l < end; l += kRows)
        sum += value_at(top + l, column);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (first == 0 && column < cut.inner) {
#pragma unroll
      for (int k = 1; k < kRows; ++k)
        sum += sums[k * kWarp + lane];
      partial[slot * cut.inner + column] = sum;
    }
    __syncthreads();
  }
}

// partial [outer, chunks, inner], from any values.
template <class C, class F>
void column_partial_sums(Stream s, C* partial, const ColumnCut& cut, const F& value_at) {
  launch(s, blocks_for(cut.outer * cut.chunks * cut.strips, 1), column_sum_kernel<C, F>, value_at,
         partial, cut);
}

// out[o, column] = beta * out[o, column] + the chunks' partial sums, in order.
template <class C>
__global__ void __launch_bounds__(kBlock)
    combine_columns_kernel(C* out, const C* partial, float beta, ColumnCut cut) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kBlock;
  const std::int64_t n = cut.outer * cut.inner;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < n;
       i += threads) {
    const C* first = partial + i / cut.inner * cut.chunks * cut.inner + i % cut.inner;
    C sum = beta == 0.0F ? C(0) : out[i];
    for (std::int64_t k = 0; k < cut.chunks; ++k)
      sum += first[k * cut.inner];
    out[i] = sum;
  }
}

// out[o, i] = beta * out[o, i] + sum over l < length of value_at(o * length + l, i); beta 0 or 1;
// out of type C and shape.outer * shape.inner elements.
template <class C, class F>
void column_sums(Context& cx, const Tensor& out, float beta, const Axis& shape, const F& value_at) {
  if (shape.outer * shape.inner == 0) return;
  constexpr std::int64_t kEnoughBlocks = 1024, kFewestRows = 64;
  const std::int64_t strips = (shape.inner + kWarp - 1) / kWarp;
  const std::int64_t chunks =
      std::clamp<std::int64_t>(kEnoughBlocks / (shape.outer * strips), 1,
                               std::max<std::int64_t>(1, shape.length / kFewestRows));
  const ColumnCut cut = cut_columns(shape.outer, shape.length, shape.inner, chunks);
  Context scratch = cx.in(Segment::kScratch);
  const Tensor partial = Tensor::empty(scratch, {cut.outer, cut.chunks, cut.inner}, kDTypeOf<C>);
  column_partial_sums(cx.stream, partial.data<C>(), cut, value_at);
  launch(cx.stream, blocks_for(cut.outer * cut.inner), combine_columns_kernel<C>, out.data<C>(),
         partial.data<C>(), beta, cut);
}

}  // namespace gradwire::cuda
