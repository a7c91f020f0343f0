#include "models/adapters/adapter.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/ops/shape/shape.h"

namespace gradwire {

Site linear_site(Parameter& weight) {
  constexpr std::string_view kWeight = ".weight";
  check(weight.name.ends_with(kWeight) && weight.value.rank() == 2, ErrorKind::kInternal,
        "linear_site: not the weight of a linear layer");
  return {weight.name.substr(0, weight.name.size() - kWeight.size()), SiteKind::kLinear,
          weight.value.dim(1), weight.value.dim(0), &weight};
}

std::string adapter_parameter(const Site& site, const std::string& part, const std::string& adapter,
                              const std::string& kind) {
  return site.name + "." + part + "." + adapter + "." + kind;
}

void init_uniform(Context& cx, Parameter& p, std::string name, const Shape& shape, double bound) {
  Context params = cx.in(Segment::kParams);
  p.value = Tensor::empty(params, shape, DType::kF32);
  fill_uniform(cx, p.value, Rng{derive_seed(cx.rng.seed, name), 0}, -bound, bound);
  p.name = std::move(name);
}

double fan_in_bound(std::int64_t fan_in) {
  return 1.0 / std::sqrt(static_cast<double>(fan_in));
}

Var in_type_of(Context& cx, Tape& tape, Var x, Parameter& p) {
  const DType type = tape.value(x).dtype();
  return type == p.value.dtype() ? tape.param(p) : cast(cx, tape, tape.param(p), type);
}

}  // namespace gradwire
