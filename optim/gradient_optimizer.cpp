#include "optim/gradient_optimizer.h"

#include <unordered_set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/glob.h"

namespace gradwire {

GradientOptimizer::GradientOptimizer(std::string_view rule, std::span<Parameter* const> params,
                                     std::span<const std::string> no_decay,
                                     std::span<const std::string> conditional)
    : rule_(rule) {
  const std::unordered_set<std::string_view> leave_out(conditional.begin(), conditional.end());
  std::unordered_set<std::string_view> names;
  for (Parameter* p : params) {
    if (!names.insert(p->name).second) {
      throw Error(ErrorKind::kUsage, fmt::format("{}: two parameters named {}", rule_, p->name));
    }
    if (!p->trainable) continue;
    if (p->value.dtype() != DType::kF32) {
      throw Error(ErrorKind::kShape, fmt::format("{}: {} is {}, but values are updated in f32",
                                                 rule_, p->name, name_of(p->value.dtype())));
    }
    slots_.push_back({p, !matches_any(p->name, no_decay), leave_out.contains(p->name)});
  }
}

std::string GradientOptimizer::state_name(const Parameter& p, std::string_view what) const {
  return fmt::format("{}/{}/{}", rule_, p.name, what);
}

const float* GradientOptimizer::gradient(const Parameter& p) const {
  if (p.grad_empty) return nullptr;
  if (p.grad.shape() != p.value.shape() || p.grad.dtype() != DType::kF32 ||
      p.grad.device() != p.value.device()) {
    throw Error(ErrorKind::kShape,
                fmt::format("{}: gradient of {} is {} {}, the value {} f32", rule_, p.name,
                            to_string(p.grad.shape()), name_of(p.grad.dtype()),
                            to_string(p.value.shape())));
  }
  return p.grad.data<float>();
}

}  // namespace gradwire
