#include "core/ops/softmax/softmax.h"

#include "core/dispatch.h"
#include "core/ops/operands.h"
#include "core/ops/softmax/softmax_kernels.h"

namespace gradwire {
namespace {

Var apply(Context& cx, Tape& tape, Var x, SoftmaxKind kind) {
  const Tensor in = tape.value(x);
  check_devices(cx, "softmax", in);
  check(in.rank() >= 1, ErrorKind::kShape, "softmax: a scalar has no last dimension");
  const Tensor y = Tensor::empty(cx, in.shape(), in.dtype());
  on_device(
      y.device(), [&](Device) { cpu::softmax(kind, y, in); },
      [&](auto) { cuda::softmax(cx.stream, kind, y, in); });
  return tape.record(y, {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Tensor dx = Tensor::empty(c, y.shape(), y.dtype());
    on_device(
        y.device(), [&](Device) { cpu::softmax_grad(kind, dx, y, dy); },
        [&](auto) { cuda::softmax_grad(c.stream, kind, dx, y, dy); });
    t.accumulate(c, x, dx);
  });
}

}  // namespace

Var softmax(Context& cx, Tape& tape, Var x) {
  return apply(cx, tape, x, SoftmaxKind::kPlain);
}

Var log_softmax(Context& cx, Tape& tape, Var x) {
  return apply(cx, tape, x, SoftmaxKind::kLog);
}

}  // namespace gradwire
