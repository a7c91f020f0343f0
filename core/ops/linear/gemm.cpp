#include "core/ops/linear/gemm.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/linear/gemm_kernels.h"

namespace gradwire {
namespace {

void check_types(const Gemm& g) {
  const auto narrow = [](DType t) { return t == DType::kF32 || t == DType::kBf16; };
  const bool all_narrow = narrow(g.a.dtype) && narrow(g.b.dtype) && narrow(g.c_dtype);
  const bool all_f64 =
      g.a.dtype == DType::kF64 && g.b.dtype == DType::kF64 && g.c_dtype == DType::kF64;
  if (!all_narrow && !all_f64) {
    throw Error(ErrorKind::kShape,
                fmt::format("gemm: no product of {} and {} into {}", name_of(g.a.dtype),
                            name_of(g.b.dtype), name_of(g.c_dtype)));
  }
  check(!(g.accumulate && g.c_dtype == DType::kBf16), ErrorKind::kShape,
        "gemm: a bf16 result cannot be added to");
}

}  // namespace

void gemm(Context& cx, const Gemm& g) {
  check_types(g);
  if (g.batch == 0 || g.m == 0 || g.n == 0) return;
  on_device(
      cx.stream.device, [&](Device) { cpu::gemm(cx, g); }, [&](auto) { cuda::gemm(cx, g); });
}

}  // namespace gradwire
