#include "models/adapters/merge.h"

#include <cmath>
#include <map>
#include <string>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

void check_finite(const Parameter& p, const std::vector<float>& values) {
  for (const float x : values) {
    if (std::isfinite(x)) continue;
    throw Error(ErrorKind::kNumeric, fmt::format("{}: merged, it is not finite", p.name));
  }
}

void set_values(Context& cx, Parameter& p, const std::vector<float>& values) {
  check_finite(p, values);
  copy(cx, p.value, Tensor::from(cx, p.value.shape(), values));
  ++p.version;
}

}  // namespace

void ParameterCopies::keep(Context& cx, Parameter& p) {
  Tensor old = Tensor::empty(cx, p.value.shape(), p.value.dtype());
  copy(cx, old, p.value);
  copies_.emplace_back(&p, old);
}

void ParameterCopies::give_back(Context& cx) {
  for (auto at = copies_.rbegin(); at != copies_.rend(); ++at) {
    copy(cx, at->first->value, at->second);
    ++at->first->version;
  }
  copies_.clear();
}

void merge_adapter(Context& cx, Module& model, AdapterSet& set, int index,
                   ParameterCopies* before) {
  std::map<std::string, Parameter*> by_name;
  model.visit_params([&](Parameter& p) { by_name.emplace(p.name, &p); });
  for (const std::string& site : set.sites()) {
    Adapter* const adapter = set.at(site, index);
    const auto weight = by_name.find(site + ".weight"), bias = by_name.find(site + ".bias");
    const bool has_bias = bias != by_name.end();
    LinearWeights linear;
    if (weight != by_name.end()) {
      linear.out = weight->second->value.dim(0);
      linear.in = weight->second->value.dim(1);
      linear.weight = weight->second->value.to_host<float>(cx);
      if (has_bias) linear.bias = bias->second->value.to_host<float>(cx);
    }
    if (weight == by_name.end() || !adapter->merge(cx, linear)) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("the adapter at {} cannot be merged: no weight of this model can "
                              "stand for it",
                              site));
    }
    const auto write = [&](Parameter& p, const std::vector<float>& values) {
      if (before != nullptr) before->keep(cx, p);
      set_values(cx, p, values);
    };
    write(*weight->second, linear.weight);
    if (has_bias) write(*bias->second, linear.bias);
  }
}

}  // namespace gradwire
