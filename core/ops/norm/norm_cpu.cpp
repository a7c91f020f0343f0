#include <algorithm>

#include "core/dispatch.h"
#include "core/ops/norm/norm_kernels.h"
#include "core/parallel_for.h"
#include "core/tensor.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // elements
// Rows per partial sum of the weight gradients: partials are a small part of the input.
constexpr std::int64_t kFewestRows = 32, kMostChunks = 256;

std::int64_t chunk_rows(std::int64_t rows, std::int64_t width) {
  return std::max({kFewestRows, (rows + kMostChunks - 1) / kMostChunks,
                   kGrain / std::max<std::int64_t>(1, width)});
}

}  // namespace

namespace cpu {

std::int64_t norm_chunks(std::int64_t rows, std::int64_t width) {
  const std::int64_t size = chunk_rows(rows, width);
  return (rows + size - 1) / size;
}

void norm_forward(DType type, const NormForward& a, std::int64_t rows) {
  const auto kernel = norm_kernels().forward[float_index(type)];
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / a.width);
  parallel_for(rows, grain, [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
}

void norm_backward(DType type, const NormBackward& a, std::int64_t rows, const Tensor& dweights,
                   const Tensor& dbiases) {
  const auto kernel = norm_kernels().backward[float_index(type)];
  const std::int64_t size = chunk_rows(rows, a.width);
  parallel_for(rows, size, [&](std::int64_t b, std::int64_t e) {
    NormBackward chunk = a;
    if (dweights) chunk.dweight = dweights.slice(b / size, b / size + 1).raw();
    if (dbiases) chunk.dbias = dbiases.slice(b / size, b / size + 1).raw();
    kernel(chunk, b, e);
  });
}

}  // namespace cpu
}  // namespace gradwire
