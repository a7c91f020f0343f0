#include "core/ops/reduce/reduce.h"

#include "core/dispatch.h"
#include "core/ops/operands.h"
#include "core/ops/reduce/reduce_kernels.h"

namespace gradwire {
namespace {

// The gradient of a sum: dy [outer, inner] repeated along the length, times factor.
void accumulate_spread(Context& cx, Tape& tape, Var x, const Tensor& dx, const Tensor& dy,
                       const Axis& axis, double factor) {
  const Tensor wide = cast(cx, dy, sum_type(dy.dtype()));
  on_device(
      dx.device(), [&](Device) { cpu::spread_axis(dx, wide, axis, factor); },
      [&](auto) { cuda::spread_axis(cx.stream, dx, wide, axis, factor); });
  tape.accumulate(cx, x, dx);
}

Var scaled_sum(Context& cx, Tape& tape, Var x, double factor) {
  check_devices(cx, "sum", tape.value(x));
  const Shape shape = tape.value(x).shape();
  const DType dtype = tape.value(x).dtype();
  const Axis axis{1, shape.numel(), 1};
  const Tensor y = sum_axis(cx, tape.value(x), axis).view({});
  if (factor != 1.0) scale(cx, y, factor);
  return tape.record(y, {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dx = Tensor::empty(c, shape, dtype);
    accumulate_spread(c, t, x, dx, dy, axis, factor);
  });
}

}  // namespace

Tensor sum_axis(Context& cx, const Tensor& x, const Axis& axis) {
  Tensor out = Tensor::empty(cx, {axis.outer, axis.inner}, sum_type(x.dtype()));
  sum_axis(cx, out, x, axis, 0.0F);
  return out;
}

void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta) {
  on_device(
      x.device(), [&](Device) { cpu::sum_axis(cx, out, x, axis, beta); },
      [&](auto) { cuda::sum_axis(cx, out, x, axis, beta); });
}

Var sum(Context& cx, Tape& tape, Var x) {
  return scaled_sum(cx, tape, x, 1.0);
}

Var mean(Context& cx, Tape& tape, Var x) {
  const std::int64_t n = tape.value(x).numel();
  check(n > 0, ErrorKind::kShape, "mean: no elements");
  return scaled_sum(cx, tape, x, 1.0 / static_cast<double>(n));
}

Var sum_dim(Context& cx, Tape& tape, Var x, int dim) {
  check_devices(cx, "sum_dim", tape.value(x));
  const Shape shape = tape.value(x).shape();
  const DType dtype = tape.value(x).dtype();
  const int d = checked_dim("sum_dim", shape, dim);
  const Axis axis = axis_of("sum_dim", shape, d);
  std::array<std::int64_t, Shape::kMaxRank> kept{};
  std::size_t rank = 0;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i != d) kept[rank++] = shape[i];
  }
  const Tensor wide = sum_axis(cx, tape.value(x), axis);
  const Tensor y = cast(cx, wide, dtype).view(Shape(std::span(kept.data(), rank)));
  return tape.record(y, {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dx = Tensor::empty(c, shape, dtype);
    accumulate_spread(c, t, x, dx, dy, axis, 1.0);
  });
}

double sum_of_squares(Context& cx, std::span<const Tensor> tensors) {
  return on_device(
      cx.stream.device,
      [&](Device) {
        double total = 0.0;
        for (const Tensor& t : tensors)
          total += cpu::sum_of_squares(cx, t);
        return total;
      },
      [&](auto) { return cuda::sum_of_squares(cx, tensors); });
}

bool all_finite([[maybe_unused]] Context& cx, const Tensor& t) {
  return on_device(
      t.device(), [&](Device) { return cpu::all_finite(t); },
      [&](auto) { return cuda::all_finite(cx, t); });
}

}  // namespace gradwire
