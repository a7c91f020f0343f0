#include "core/ops/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/cross_entropy/cross_entropy_kernels.h"
#include "core/ops/operands.h"
#include "core/ops/reduce/reduce.h"
#include "core/ops/reduce/reduce_kernels.h"

namespace gradwire {
namespace {

void check_arguments(const Tensor& logits, const Tensor& targets, const CrossEntropyOptions& o) {
  if (!is_float(logits.dtype()) || logits.rank() < 1 || logits.dim(-1) == 0 ||
      targets.dtype() != DType::kI32 || targets.numel() * logits.dim(-1) != logits.numel()) {
    throw Error(ErrorKind::kShape,
                fmt::format("cross_entropy: logits {} {} with targets {} {}",
                            name_of(logits.dtype()), to_string(logits.shape()),
                            name_of(targets.dtype()), to_string(targets.shape())));
  }
  if (!(o.label_smoothing >= 0.0 && o.label_smoothing < 1.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("cross_entropy: label smoothing {} outside [0, 1)", o.label_smoothing));
  }
}

// How many rows count. Errors: kData for a target outside [0, width).
std::int64_t count_targets(std::span<const std::int32_t> targets, std::int64_t width,
                           std::int32_t ignore_index) {
  std::int64_t counted = 0;
  for (const std::int32_t t : targets) {
    if (t == ignore_index) continue;
    if (t < 0 || t >= width) {
      throw Error(ErrorKind::kData,
                  fmt::format("cross_entropy: target {} outside [0, {})", t, width));
    }
    ++counted;
  }
  return counted;
}

CrossEntropyRows rows_of(const Tensor& logits, const Tensor& targets, const Tensor& log_sum,
                         const CrossEntropyOptions& options) {
  CrossEntropyRows rows{};
  rows.logits = logits.raw();
  rows.targets = targets.data<std::int32_t>();
  rows.width = logits.dim(-1);
  rows.ignore_index = options.ignore_index;
  rows.smoothing = options.label_smoothing;
  rows.log_sum = log_sum.raw();
  return rows;
}

}  // namespace

Var cross_entropy(Context& cx, Tape& tape, Var logits, const Tensor& targets,
                  const CrossEntropyOptions& options) {
  const Tensor x = tape.value(logits);
  check_devices(cx, "cross_entropy", x, targets);
  check_arguments(x, targets, options);
  const std::int64_t n = targets.numel();
  const Tensor log_sum = Tensor::empty(cx, {n}, sum_type(x.dtype()));
  Context scratch = cx.in(Segment::kScratch);
  const Tensor losses = Tensor::empty(scratch, {n}, log_sum.dtype());
  CrossEntropyRows rows = rows_of(x, targets, log_sum, options);
  rows.losses = losses.raw();
  const std::int64_t counted =
      count_targets(targets.to_host<std::int32_t>(cx), rows.width, options.ignore_index);
  on_device(
      x.device(), [&](Device) { cpu::cross_entropy(x.dtype(), rows, n); },
      [&](auto) { cuda::cross_entropy(cx.stream, x.dtype(), rows, n); });
  const double share = 1.0 / static_cast<double>(std::max<std::int64_t>(1, counted));
  const Tensor loss = sum_axis(cx, losses, {1, n, 1}).view({});
  scale(cx, loss, share);
  // The closure's handle on the logits is the last one if no other op saved them and no caller
  // holds them: the gradient then takes their place.
  return tape.record(loss, {logits}, [=, kept = x](Context& c, Tape& t, const Tensor& dy) mutable {
    const Tensor own = std::exchange(kept, Tensor{});
    const Tensor dx = own.unique() ? own : Tensor::empty(c, own.shape(), own.dtype());
    CrossEntropyRows back = rows_of(own, targets, log_sum, options);
    back.dlogits = dx.raw();
    back.scale = share * dy.to_host<double>(c).front();
    on_device(
        dx.device(), [&](Device) { cpu::cross_entropy_grad(dx.dtype(), back, n); },
        [&](auto) { cuda::cross_entropy_grad(c.stream, dx.dtype(), back, n); });
    t.accumulate(c, logits, dx);
  });
}

}  // namespace gradwire
