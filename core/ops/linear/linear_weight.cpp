#include "core/ops/linear/linear_weight.h"

#include "core/dispatch.h"
#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/linear_kernels.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

// Products without a bf16 matrix unit are made in f32: there the copy stays wide, or every product
// would widen it again.
Tensor rounded(Context& cx, const Tensor& w) {
  return on_device(
      cx.stream.device,
      [&](Device) {
        if (cpu::use_bf16_unit(cx)) return cast(cx, w, DType::kBf16);
        Tensor out = Tensor::empty(cx, w.shape(), DType::kF32);
        const float* from = w.data<float>();
        float* to = out.data<float>();
        parallel_for(w.numel(), 1 << 15, [&](std::int64_t begin, std::int64_t end) {
          linear_kernels().round(from + begin, to + begin, end - begin);
        });
        return out;
      },
      [&](auto) { return cast(cx, w, DType::kBf16); });
}

GemmOperand operand_of(const Tensor& w, bool transposed) {
  return {w.raw(), w.dim(1), transposed, w.dtype()};
}

// The copy made by make() for this version of p, made anew after the old one's memory is free.
template <class Make>
auto kept(Parameter& p, const char* key, const Make& make) {
  using Copy = typename decltype(make())::element_type;
  Parameter::Derived& derived = p.derived[key];
  if (derived.version != p.version || !derived.copy) {
    derived.copy.reset();
    derived.copy = make();
    derived.version = p.version;
  }
  return std::static_pointer_cast<Copy>(derived.copy);
}

}  // namespace

WeightOperand weight_operand(Context& cx, DType x, const Tensor& w, Parameter* p, bool transposed) {
  const auto whole = [&](std::shared_ptr<const Tensor> t) {
    return WeightOperand{operand_of(*t, transposed), t};
  };
  if (x != DType::kBf16 || w.dtype() != DType::kF32) return whole(std::make_shared<Tensor>(w));
  Context params = cx.in(Segment::kParams);
  const auto round = [&] { return std::make_shared<Tensor>(rounded(params, w)); };
  if (p == nullptr) return whole(round());
  if (!cpu::use_bf16_unit(cx)) return whole(kept(*p, "linear.bf16", round));
  const auto packed = kept(*p, transposed ? "linear.bf16.y" : "linear.bf16.dx", [&] {
    Context scratch = cx.in(Segment::kScratch);
    const Tensor narrow = rounded(scratch, w);
    const std::int64_t k = w.dim(transposed ? 1 : 0), n = w.dim(transposed ? 0 : 1);
    return cpu::pack(params, operand_of(narrow, transposed), k, n);
  });
  GemmOperand operand;
  operand.dtype = DType::kBf16;
  operand.packed = packed.get();
  return {operand, packed};
}

}  // namespace gradwire
