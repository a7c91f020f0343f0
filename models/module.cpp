#include "models/module.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/glob.h"

namespace gradwire {

std::vector<Parameter*> parameters_of(Module& m) {
  std::vector<Parameter*> all;
  m.visit_params([&](Parameter& p) { all.push_back(&p); });
  return all;
}

std::vector<Parameter*> trainable_parameters_of(Module& m) {
  std::vector<Parameter*> some;
  m.visit_params([&](Parameter& p) {
    if (p.trainable) some.push_back(&p);
  });
  return some;
}

std::vector<Parameter*> frozen_parameters_of(Module& m) {
  std::vector<Parameter*> some;
  m.visit_params([&](Parameter& p) {
    if (!p.trainable) some.push_back(&p);
  });
  return some;
}

std::int64_t count_elements(const std::vector<Parameter*>& params) {
  std::int64_t n = 0;
  for (const Parameter* p : params)
    n += p->value.numel();
  return n;
}

void set_trainable(Module& m, const std::vector<std::string>& patterns, bool is_part) {
  std::vector<bool> used(patterns.size(), false);
  m.visit_params([&](Parameter& p) {
    p.trainable = false;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (!matches(p.name, patterns[i])) continue;
      p.trainable = true;
      used[i] = true;
    }
  });
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    if (!used[i] && !is_part) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("model.trainable: '{}' matches no parameter", patterns[i]));
    }
  }
}

void init_normal(Context& cx, Parameter& p, std::string name, const Shape& shape, double stddev) {
  Context params = cx.in(Segment::kParams);
  p.value = Tensor::empty(params, shape, DType::kF32);
  fill_normal(cx, p.value, Rng{derive_seed(cx.rng.seed, name), 0}, stddev);
  p.name = std::move(name);
}

void init_constant(Context& cx, Parameter& p, std::string name, const Shape& shape, double value) {
  Context params = cx.in(Segment::kParams);
  p.value = Tensor::empty(params, shape, DType::kF32);
  fill(cx, p.value, value);
  p.name = std::move(name);
}

}  // namespace gradwire
