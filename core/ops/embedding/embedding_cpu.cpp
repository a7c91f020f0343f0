#include <algorithm>

#include "core/dispatch.h"
#include "core/ops/embedding/embedding_kernels.h"
#include "core/parallel_for.h"
#include "core/tensor.h"
#include "core/tensor_kernels.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // elements
constexpr std::int64_t kColumns = 64;

std::byte* at(const Tensor& t, std::int64_t i) {
  return static_cast<std::byte*>(t.raw()) + static_cast<std::size_t>(i) * size_of(t.dtype());
}

}  // namespace

void embedding(const Tensor& y, const Tensor& table, const Tensor& ids) {
  const std::int64_t width = table.dim(1);
  const std::int32_t* row = ids.data<std::int32_t>();
  const auto convert = tensor_kernels().convert[float_index(y.dtype())][float_index(table.dtype())];
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width));
  parallel_for(ids.numel(), grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t n = b; n < e; ++n)
      convert(at(y, n * width), at(table, row[n] * width), width);
  });
}

// Cut by columns: whoever owns a column adds all its rows in order, and rows that repeat (frequent
// words) burden no thread more than another.
void embedding_grad(const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  const std::int64_t width = dtable.dim(1);
  const std::int32_t* row = ids.data<std::int32_t>();
  const auto add =
      tensor_kernels().add_scaled[float_index(dtable.dtype())][float_index(dy.dtype())];
  parallel_for(width, kColumns, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t n = 0; n < ids.numel(); ++n) {
      add(at(dtable, row[n] * width + b), at(dy, n * width + b), 1.0, e - b);
    }
  });
}

}  // namespace gradwire::cpu
