#include "core/ops/norm/norm.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/norm/norm_kernels.h"
#include "core/ops/operands.h"
#include "core/ops/reduce/reduce.h"
#include "core/ops/reduce/reduce_kernels.h"
#include "core/ops/weight_grad.h"

namespace gradwire {
namespace {

void check_weight(const char* op, const Tensor& x, const Tensor& w) {
  if (!is_float(x.dtype()) || x.rank() < 1 || x.dim(-1) == 0 || w.shape() != Shape{x.dim(-1)} ||
      w.dtype() != sum_type(x.dtype())) {
    throw Error(ErrorKind::kShape,
                fmt::format("{}: x {} {} with a weight {} {}", op, name_of(x.dtype()),
                            to_string(x.shape()), name_of(w.dtype()), to_string(w.shape())));
  }
}

void* raw_or_null(const Tensor& t) {
  return t ? t.raw() : nullptr;
}

struct Saved {
  Tensor x, weight, mean, rstd;
};

void backward(Context& cx, Tape& tape, const Saved& s, const Tensor& dy, Var x, Var w, Var b) {
  const std::int64_t width = s.x.dim(-1), rows = s.x.numel() / width;
  const std::int64_t chunks = on_device(
      dy.device(), [&](Device) { return cpu::norm_chunks(rows, width); },
      [&](auto) { return cuda::norm_chunks(rows); });
  const DType type = s.weight.dtype();
  Context scratch = cx.in(Segment::kScratch);
  const auto partial = [&](Var v) {
    return tape.needs_grad(v) ? Tensor::empty(scratch, {chunks, width}, type) : Tensor{};
  };
  const Tensor dw = partial(w), db = partial(b);
  const Tensor dx = tape.needs_grad(x) ? Tensor::empty(cx, s.x.shape(), s.x.dtype()) : Tensor{};
  const NormBackward args{s.x.raw(),    dy.raw(),        s.weight.raw(), raw_or_null(s.mean),
                          s.rstd.raw(), raw_or_null(dx), nullptr,        nullptr,
                          width};
  on_device(
      dy.device(), [&](Device) { cpu::norm_backward(s.x.dtype(), args, rows, dw, db); },
      [&](auto) { cuda::norm_backward(cx.stream, s.x.dtype(), args, rows, dw, db); });
  if (dx) tape.accumulate(cx, x, dx);
  const auto combine = [&](Var v, const Tensor& sums) {
    accumulate_weight_grad(cx, tape, v, s.weight, [&](const Tensor& grad, float beta) {
      sum_axis(cx, grad, sums, {1, chunks, width}, beta);
    });
  };
  combine(w, dw);
  combine(b, db);
}

Var normalise(Context& cx, Tape& tape, Var x, Var w, Var b, double eps) {
  const Tensor in = tape.value(x), weight = tape.value(w);
  const std::int64_t width = in.dim(-1), rows = in.numel() / width;
  const Tensor y = Tensor::empty(cx, in.shape(), in.dtype());
  const Tensor rstd = Tensor::empty(cx, {rows}, weight.dtype());
  const Tensor mean = b ? Tensor::empty(cx, {rows}, weight.dtype()) : Tensor{};
  const NormForward args{in.raw(),
                         weight.raw(),
                         b ? tape.value(b).raw() : nullptr,
                         y.raw(),
                         raw_or_null(mean),
                         rstd.raw(),
                         width,
                         eps};
  on_device(
      in.device(), [&](Device) { cpu::norm_forward(in.dtype(), args, rows); },
      [&](auto) { cuda::norm_forward(cx.stream, in.dtype(), args, rows); });
  const Saved saved{in, weight, mean, rstd};
  const auto closure = [=](Context& c, Tape& t, const Tensor& dy) {
    backward(c, t, saved, dy, x, w, b);
  };
  return b ? tape.record(y, {x, w, b}, closure) : tape.record(y, {x, w}, closure);
}

}  // namespace

Var rmsnorm(Context& cx, Tape& tape, Var x, Var w, double eps) {
  check_devices(cx, "rmsnorm", tape.value(x), tape.value(w));
  check_weight("rmsnorm", tape.value(x), tape.value(w));
  return normalise(cx, tape, x, w, {}, eps);
}

Var layernorm(Context& cx, Tape& tape, Var x, Var w, Var b, double eps) {
  check_devices(cx, "layernorm", tape.value(x), tape.value(w), tape.value(b));
  check_weight("layernorm", tape.value(x), tape.value(w));
  check_weight("layernorm", tape.value(x), tape.value(b));
  return normalise(cx, tape, x, w, b, eps);
}

}  // namespace gradwire
