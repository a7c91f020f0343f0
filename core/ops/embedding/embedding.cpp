#include "core/ops/embedding/embedding.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/embedding/embedding_kernels.h"
#include "core/ops/operands.h"
#include "core/ops/weight_grad.h"

namespace gradwire {
namespace {

Shape with_width(const Shape& ids, std::int64_t width) {
  std::array<std::int64_t, Shape::kMaxRank + 1> dims{};
  const auto own = ids.dims();
  std::copy(own.begin(), own.end(), dims.begin());
  dims[own.size()] = width;
  return Shape(std::span(dims.data(), own.size() + 1));
}

// Errors: kData for an id outside [0, rows).
void check_ids(std::span<const std::int32_t> ids, std::int64_t rows) {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= rows) {
      throw Error(ErrorKind::kData, fmt::format("embedding: id {} outside [0, {})", id, rows));
    }
  }
}

}  // namespace

Var embedding(Context& cx, Tape& tape, Var table, const Tensor& ids, DType out) {
  const Tensor rows = tape.value(table);
  check_devices(cx, "embedding", rows, ids);
  if (rows.rank() != 2 || ids.dtype() != DType::kI32 || !is_float(rows.dtype()) || !is_float(out)) {
    throw Error(ErrorKind::kShape,
                fmt::format("embedding: table {} {} with ids {}, giving {}", name_of(rows.dtype()),
                            to_string(rows.shape()), name_of(ids.dtype()), name_of(out)));
  }
  const Tensor y = Tensor::empty(cx, with_width(ids.shape(), rows.dim(1)), out);
  check_ids(ids.to_host<std::int32_t>(cx), rows.dim(0));
  on_device(
      y.device(), [&](Device) { cpu::embedding(y, rows, ids); },
      [&](auto) { cuda::embedding(cx.stream, y, rows, ids); });
  return tape.record(y, {table}, [=](Context& c, Tape& t, const Tensor& dy) {
    accumulate_weight_grad(c, t, table, rows, [&](const Tensor& grad, float beta) {
      if (beta == 0.0F) fill(c, grad, 0.0);
      on_device(
          dy.device(), [&](Device) { cpu::embedding_grad(grad, dy, ids); },
          [&](auto) { cuda::embedding_grad(c, grad, dy, ids); });
    });
  });
}

}  // namespace gradwire
