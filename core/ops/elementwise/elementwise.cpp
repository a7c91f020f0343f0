#include "core/ops/elementwise/elementwise.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/elementwise/broadcast.h"
#include "core/ops/elementwise/elementwise_kernels.h"
#include "core/ops/operands.h"

namespace gradwire {
namespace {

void check_pair(Context& cx, const char* op, const Tensor& a, const Tensor& b) {
  check_devices(cx, op, a, b);
  if (a.dtype() != b.dtype() || !is_float(a.dtype())) {
    throw Error(ErrorKind::kShape, fmt::format("{}: wants one float type, got {} and {}", op,
                                               name_of(a.dtype()), name_of(b.dtype())));
  }
}

Tensor binary(Context& cx, BinaryOp op, const Tensor& a, const Tensor& b, const Broadcast& plan) {
  Tensor y = Tensor::empty(cx, plan.shape, a.dtype());
  on_device(
      y.device(), [&](Device) { cpu::binary(op, y, a, b, plan); },
      [&](auto) { cuda::binary(cx.stream, op, y, a, b, plan); });
  return y;
}

Tensor times(Context& cx, const Tensor& x, double factor) {
  Tensor y = Tensor::empty(cx, x.shape(), x.dtype());
  on_device(
      x.device(), [&](Device) { cpu::scaled(y, x, factor); },
      [&](auto) { cuda::scaled(cx.stream, y, x, factor); });
  return y;
}

}  // namespace

const char* name_of(Unary u) {
  switch (u) {
    case Unary::kSilu: return "silu";
    case Unary::kGelu: return "gelu";
    case Unary::kGeluTanh: return "gelu_tanh";
    case Unary::kRelu: return "relu";
    case Unary::kTanh: return "tanh";
    case Unary::kSigmoid: return "sigmoid";
    case Unary::kExp: return "exp";
    case Unary::kSquare: return "square";
    case Unary::kCount: break;
  }
  return "?";
}

Var unary(Context& cx, Tape& tape, Unary which, Var x) {
  const Tensor in = tape.value(x);
  check_devices(cx, name_of(which), in);
  const Tensor y = Tensor::empty(cx, in.shape(), in.dtype());
  on_device(
      in.device(), [&](Device) { cpu::unary(which, y, in); },
      [&](auto) { cuda::unary(cx.stream, which, y, in); });
  return tape.record(y, {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dx = Tensor::empty(c, in.shape(), in.dtype());
    on_device(
        in.device(), [&](Device) { cpu::unary_grad(which, dx, in, dy); },
        [&](auto) { cuda::unary_grad(c.stream, which, dx, in, dy); });
    t.accumulate(c, x, dx);
  });
}

Var add(Context& cx, Tape& tape, Var a, Var b) {
  const Shape shape_a = tape.value(a).shape(), shape_b = tape.value(b).shape();
  check_pair(cx, "add", tape.value(a), tape.value(b));
  const Broadcast plan = broadcast("add", shape_a, shape_b);
  const Tensor y = binary(cx, BinaryOp::kAdd, tape.value(a), tape.value(b), plan);
  return tape.record(y, {a, b}, [=](Context& c, Tape& t, const Tensor& dy) {
    if (t.needs_grad(a)) t.accumulate(c, a, sum_to_a(c, dy, plan, shape_a));
    if (t.needs_grad(b)) t.accumulate(c, b, sum_to_b(c, dy, plan, shape_b));
  });
}

Var mul(Context& cx, Tape& tape, Var a, Var b) {
  check_pair(cx, "mul", tape.value(a), tape.value(b));
  const Shape shape_a = tape.value(a).shape(), shape_b = tape.value(b).shape();
  const Broadcast plan = broadcast("mul", shape_a, shape_b);
  const Tensor y = binary(cx, BinaryOp::kMul, tape.value(a), tape.value(b), plan);
  // Each side's gradient needs the other side's value.
  const Tensor for_b = tape.needs_grad(b) ? tape.value(a) : Tensor{};
  const Tensor for_a = tape.needs_grad(a) ? tape.value(b) : Tensor{};
  return tape.record(y, {a, b}, [=](Context& c, Tape& t, const Tensor& dy) {
    if (for_a) {
      const Broadcast with_b = broadcast("mul", dy.shape(), shape_b);
      const Tensor wide = binary(c, BinaryOp::kMul, dy, for_a, with_b);
      t.accumulate(c, a, sum_to_a(c, wide, plan, shape_a));
    }
    if (for_b) {
      const Broadcast with_a = broadcast("mul", dy.shape(), shape_a);
      const Tensor wide = binary(c, BinaryOp::kMul, dy, for_b, with_a);
      t.accumulate(c, b, sum_to_b(c, wide, plan, shape_b));
    }
  });
}

Var scaled(Context& cx, Tape& tape, Var x, double factor) {
  check_devices(cx, "scaled", tape.value(x));
  return tape.record(
      times(cx, tape.value(x), factor), {x},
      [=](Context& c, Tape& t, const Tensor& dy) { t.accumulate(c, x, times(c, dy, factor)); });
}

Var gated(Context& cx, Tape& tape, Unary act, Var gate, Var up) {
  const Tensor g = tape.value(gate), u = tape.value(up);
  check_pair(cx, "gated", g, u);
  if (g.shape() != u.shape()) {
    throw Error(ErrorKind::kShape, fmt::format("gated: gate {} and up {} differ",
                                               to_string(g.shape()), to_string(u.shape())));
  }
  const Tensor y = Tensor::empty(cx, g.shape(), g.dtype());
  on_device(
      y.device(), [&](Device) { cpu::gated(act, y, g, u); },
      [&](auto) { cuda::gated(cx.stream, act, y, g, u); });
  return tape.record(y, {gate, up}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dgate = Tensor::empty(c, g.shape(), g.dtype());
    const Tensor dup = Tensor::empty(c, g.shape(), g.dtype());
    const GatedGrad arrays{dgate, dup, g, u, dy};
    on_device(
        dy.device(), [&](Device) { cpu::gated_grad(act, arrays); },
        [&](auto) { cuda::gated_grad(c.stream, act, arrays); });
    t.accumulate(c, gate, dgate);
    t.accumulate(c, up, dup);
  });
}

}  // namespace gradwire
