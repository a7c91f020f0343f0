#include "core/ops/attention/attention.h"

#include <cmath>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/attention/attention_kernels.h"
#include "core/ops/operands.h"

namespace gradwire {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kShape, "attention: " + why);
}

AttentionShape shape_of(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOptions& o) {
  if (q.rank() != 3 || k.rank() != 3 || k.shape() != v.shape() || q.dim(0) != k.dim(0)) {
    refuse(fmt::format("q {}, k {} and v {} are not [B, T, H], [B, S, G] and [B, S, G]",
                       to_string(q.shape()), to_string(k.shape()), to_string(v.shape())));
  }
  if (!is_float(q.dtype()) || q.dtype() != k.dtype() || q.dtype() != v.dtype()) {
    refuse(fmt::format("q is {}, k {}, v {}", name_of(q.dtype()), name_of(k.dtype()),
                       name_of(v.dtype())));
  }
  if (o.kv_heads < 1 || o.heads < 1 || o.heads % o.kv_heads != 0) {
    refuse(fmt::format("{} heads cannot share {} key/value heads", o.heads, o.kv_heads));
  }
  const std::int64_t width = q.dim(2) / o.heads;
  if (width == 0 || q.dim(2) != o.heads * width || k.dim(2) != o.kv_heads * width) {
    refuse(fmt::format("{} heads in q {} and {} in k {} differ in width", o.heads,
                       to_string(q.shape()), o.kv_heads, to_string(k.shape())));
  }
  if (k.dim(1) == 0) refuse(fmt::format("no keys: k {}", to_string(k.shape())));
  if (o.query_start < 0) refuse(fmt::format("queries start at {}", o.query_start));
  const double scale = o.scale != 0.0 ? o.scale : 1.0 / std::sqrt(static_cast<double>(width));
  if (!(scale > 0.0)) refuse(fmt::format("the scale {} is not positive", scale));
  if (o.sample_starts && (!o.causal || o.query_start != 0 || q.dim(1) != k.dim(1))) {
    refuse("samples in a row need causal attention of the row with itself");
  }
  const std::int32_t* starts = o.sample_starts ? o.sample_starts.data<std::int32_t>() : nullptr;
  return {q.dim(0), q.dim(1), k.dim(1), o.heads,       o.kv_heads,
          width,    o.causal, scale,    o.query_start, starts};
}

}  // namespace

void check_sample_starts(const Context& cx, const char* who, const Tensor& starts,
                         std::int64_t batch, std::int64_t tokens) {
  if (cx.stream.device.type != DeviceType::kCpu) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: several samples in a row are computed on CPUs alone so far; on a "
                            "GPU, give each a row of its own",
                            who));
  }
  if (starts.dtype() != DType::kI32 || starts.shape() != Shape{batch, tokens}) {
    throw Error(ErrorKind::kShape,
                fmt::format("{}: sample starts {} {}, not i32 [{}, {}]", who,
                            name_of(starts.dtype()), to_string(starts.shape()), batch, tokens));
  }
  const std::int32_t* const start = starts.data<std::int32_t>();
  for (std::int64_t i = 0; i < batch * tokens; ++i) {
    const std::int64_t token = i % tokens;
    const std::int32_t least = token == 0 ? 0 : start[i - 1];
    if (start[i] >= least && start[i] <= token) continue;
    throw Error(ErrorKind::kData,
                fmt::format("{}: token {} of row {} is of a sample that starts at {}", who, token,
                            i / tokens, start[i]));
  }
}

Var attention(Context& cx, Tape& tape, Var q, Var k, Var v, const AttentionOptions& options) {
  AttentionTensors t{tape.value(q), tape.value(k), tape.value(v), {}, {}};
  check_devices(cx, "attention", t.q, t.k, t.v);
  if (options.sample_starts) {
    check_sample_starts(cx, "attention", options.sample_starts, t.q.dim(0), t.q.dim(1));
  }
  const AttentionShape s = shape_of(t.q, t.k, t.v, options);
  t.y = Tensor::empty(cx, t.q.shape(), t.q.dtype());
  const DType wide = t.q.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  t.lse = Tensor::empty(cx, {s.batch, s.heads, s.queries}, wide);
  on_device(
      cx.stream.device, [&](Device) { cpu::attention_forward(cx, s, t); },
      [&](auto) { cuda::attention_forward(cx, s, t); });
  return tape.record(
      t.y, {q, k, v}, [=, starts = options.sample_starts](Context& c, Tape& tp, const Tensor& dy) {
        const AttentionGradients g{Tensor::empty(c, t.q.shape(), t.q.dtype()),
                                   Tensor::empty(c, t.k.shape(), t.k.dtype()),
                                   Tensor::empty(c, t.v.shape(), t.v.dtype())};
        on_device(
            c.stream.device, [&](Device) { cpu::attention_backward(c, s, t, dy, g); },
            [&](auto) { cuda::attention_backward(c, s, t, dy, g); });
        tp.accumulate(c, q, g.dq);
        tp.accumulate(c, k, g.dk);
        tp.accumulate(c, v, g.dv);
      });
}

}  // namespace gradwire
