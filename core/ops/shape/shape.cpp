#include "core/ops/shape/shape.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/axis.h"
#include "core/ops/operands.h"
#include "core/ops/shape/shape_kernels.h"

namespace gradwire {
namespace {

void copy_blocks(Context& cx, const BlockCopy& c) {
  on_device(
      cx.stream.device, [&](Device) { cpu::copy_blocks(c); },
      [&](auto) { cuda::copy_blocks(cx.stream, c); });
}

std::byte* at(const Tensor& t, std::int64_t element) {
  return static_cast<std::byte*>(t.raw()) + static_cast<std::size_t>(element) * size_of(t.dtype());
}

// Copies indices [begin, begin + part.length) of `whole` to `part`, or the other way round.
enum class Way { kTakeOut, kPutIn };
void move_part(Context& cx, const Tensor& whole, const Tensor& part, int dim, std::int64_t begin,
               Way way) {
  const Axis big = axis_of("slice", whole.shape(), dim),
             small = axis_of("slice", part.shape(), dim);
  const std::int64_t size = static_cast<std::int64_t>(size_of(whole.dtype()));
  const std::int64_t bytes = small.length * small.inner * size;
  const std::int64_t stride = big.length * big.inner * size;
  std::byte* inside = at(whole, begin * big.inner);
  copy_blocks(cx, way == Way::kTakeOut
                      ? BlockCopy{part.raw(), inside, big.outer, bytes, bytes, stride}
                      : BlockCopy{inside, part.raw(), big.outer, bytes, stride, bytes});
}

// A view if the part is contiguous, else a copy.
Tensor take_part(Context& cx, const Tensor& whole, int dim, std::int64_t begin, std::int64_t end) {
  const Shape shape = whole.shape().with(dim, end - begin);
  const Axis axis = axis_of("slice", whole.shape(), dim);
  if (axis.outer == 1) {
    return whole.view({axis.length, axis.inner}).slice(begin, end).view(shape);
  }
  Tensor part = Tensor::empty(cx, shape, whole.dtype());
  move_part(cx, whole, part, dim, begin, Way::kTakeOut);
  return part;
}

Tensor swapped(Context& cx, const Tensor& x, int a, int b) {
  const Shape& s = x.shape();
  Tensor y = Tensor::empty(cx, s.with(a, s[b]).with(b, s[a]), x.dtype());
  const Axis first = axis_of("transpose", s, a), second = axis_of("transpose", s, b);
  std::int64_t middle = 1;
  for (int i = a + 1; i < b; ++i)
    middle *= s[i];
  const Transpose t{
      y.raw(), x.raw(),       first.outer,  first.length,
      middle,  second.length, second.inner, static_cast<std::int64_t>(size_of(x.dtype()))};
  on_device(
      x.device(), [&](Device) { cpu::transpose(t); }, [&](auto) { cuda::transpose(cx.stream, t); });
  return y;
}

// The shape of the concatenation; everything but `dim` must agree.
Shape joined(Tape& tape, std::span<const Var> xs, int dim) {
  const Tensor& first = tape.value(xs[0]);
  std::int64_t length = 0;
  for (const Var x : xs) {
    const Tensor& t = tape.value(x);
    if (t.rank() != first.rank() || t.dtype() != first.dtype() ||
        t.shape().with(dim, 0) != first.shape().with(dim, 0)) {
      throw Error(ErrorKind::kShape, fmt::format("concat along {}: {} {} does not fit {} {}", dim,
                                                 name_of(t.dtype()), to_string(t.shape()),
                                                 name_of(first.dtype()), to_string(first.shape())));
    }
    length += t.dim(dim);
  }
  return first.shape().with(dim, length);
}

}  // namespace

Var reshape(Context& cx, Tape& tape, Var x, const Shape& shape) {
  check_devices(cx, "reshape", tape.value(x));
  const Shape before = tape.value(x).shape();
  return tape.record(tape.value(x).view(shape), {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    t.accumulate(c, x, dy.view(before));
  });
}

Var transpose(Context& cx, Tape& tape, Var x, int a, int b) {
  const Tensor& in = tape.value(x);
  check_devices(cx, "transpose", in);
  const int d = checked_dim("transpose", in.shape(), a);
  const int e = checked_dim("transpose", in.shape(), b);
  if (d == e) return x;
  const int low = std::min(d, e), high = std::max(d, e);
  return tape.record(swapped(cx, in, low, high), {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    t.accumulate(c, x, swapped(c, dy, low, high));
  });
}

Var concat(Context& cx, Tape& tape, std::span<const Var> xs, int dim) {
  check(!xs.empty(), ErrorKind::kShape, "concat: nothing to join");
  const int d = checked_dim("concat", tape.value(xs[0]).shape(), dim);
  const Tensor y = Tensor::empty(cx, joined(tape, xs, d), tape.value(xs[0]).dtype());
  std::int64_t begin = 0;
  std::vector<std::int64_t> begins;
  for (const Var x : xs)
    check_devices(cx, "concat", tape.value(x));
  for (const Var x : xs) {
    move_part(cx, y, tape.value(x), d, begin, Way::kPutIn);
    begins.push_back(begin);
    begin += tape.value(x).dim(d);
  }
  begins.push_back(begin);
  const std::vector<Var> inputs(xs.begin(), xs.end());
  return tape.record(y, xs, [=](Context& c, Tape& t, const Tensor& dy) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!t.needs_grad(inputs[i])) continue;
      t.accumulate(c, inputs[i], take_part(c, dy, d, begins[i], begins[i + 1]));
    }
  });
}

Var slice(Context& cx, Tape& tape, Var x, int dim, std::int64_t begin, std::int64_t end) {
  check_devices(cx, "slice", tape.value(x));
  const Shape shape = tape.value(x).shape();
  const int d = checked_dim("slice", shape, dim);
  if (begin < 0 || end < begin || end > shape[d]) {
    throw Error(ErrorKind::kShape, fmt::format("slice: [{}, {}) of dimension {} of {}", begin, end,
                                               d, to_string(shape)));
  }
  const Tensor y = take_part(cx, tape.value(x), d, begin, end);
  return tape.record(y, {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dx = Tensor::zeros(c, shape, dy.dtype());
    move_part(c, dx, dy, d, begin, Way::kPutIn);
    t.accumulate(c, x, dx);
  });
}

Var cast(Context& cx, Tape& tape, Var x, DType to) {
  check_devices(cx, "cast", tape.value(x));
  const DType from = tape.value(x).dtype();
  if (from == to) return x;
  return tape.record(cast(cx, tape.value(x), to), {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    t.accumulate(c, x, cast(c, dy, from));
  });
}

}  // namespace gradwire
