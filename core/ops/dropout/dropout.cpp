#include "core/ops/dropout/dropout.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/dropout/dropout_kernels.h"
#include "core/ops/dropout/dropout_math.h"
#include "core/ops/operands.h"

namespace gradwire {
namespace {

Tensor masked(Context& cx, const Tensor& x, const DropoutMask& mask) {
  Tensor y = Tensor::empty(cx, x.shape(), x.dtype());
  on_device(
      x.device(), [&](Device) { cpu::dropout(y, x, mask); },
      [&](auto) { cuda::dropout(cx.stream, y, x, mask); });
  return y;
}

}  // namespace

Var dropout(Context& cx, Tape& tape, Var x, double p) {
  check_devices(cx, "dropout", tape.value(x));
  if (!(p >= 0.0 && p < 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("dropout: probability {} outside [0, 1)", p));
  }
  if (p == 0.0 || !tape.recording()) return x;
  const Tensor& in = tape.value(x);
  const DropoutMask mask{cx.rng.seed, cx.rng.take(static_cast<std::uint64_t>(in.numel())),
                         dropout_threshold(p), 1.0 / (1.0 - p)};
  return tape.record(masked(cx, in, mask), {x}, [=](Context& c, Tape& t, const Tensor& dy) {
    t.accumulate(c, x, masked(c, dy, mask));
  });
}

}  // namespace gradwire
