#include "models/adapters/adaptation.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/linear/linear.h"
#include "core/ops/shape/shape.h"

namespace gradwire {

Adaptation::Adaptation(AdapterSet& set, std::vector<SampleGroup> groups)
    : set_(&set), groups_(std::move(groups)) {
  std::int64_t next = 0;
  for (const SampleGroup& g : groups_) {
    check(g.begin == next && g.end > g.begin, ErrorKind::kUsage,
          "adaptation: groups must follow one another and hold samples");
    next = g.end;
  }
}

Adaptation::Adaptation(AdapterSet& set, int adapter) : set_(&set), groups_{{0, 0, adapter}} {}

bool Adaptation::has_any(const std::string& site) const {
  return set_ != nullptr && std::ranges::any_of(groups_, [&](const SampleGroup& g) {
           return g.adapter != SampleGroup::kNone && set_->at(site, g.adapter) != nullptr;
         });
}

Var Adaptation::by_group(Context& cx, Tape& tape, const std::string& site, const OfGroup& f) const {
  const auto adapter_of = [&](const SampleGroup& g) {
    return g.adapter == SampleGroup::kNone ? nullptr : set_->at(site, g.adapter);
  };
  if (groups_.size() == 1) return f(adapter_of(groups_.front()), [](Var v) { return v; });
  std::vector<Var> parts;
  for (const SampleGroup& g : groups_) {
    parts.push_back(f(adapter_of(g), [&](Var v) {
      if (tape.value(v).dim(0) < g.end) {
        throw Error(ErrorKind::kShape, fmt::format("adaptation: samples {} to {} of a batch of {}",
                                                   g.begin, g.end, tape.value(v).dim(0)));
      }
      return slice(cx, tape, v, 0, g.begin, g.end);
    }));
  }
  return concat(cx, tape, parts, 0);
}

Var Adaptation::linear(Context& cx, Tape& tape, Var x, Parameter& w, Parameter* bias) const {
  const std::string site = set_ == nullptr ? "" : linear_site(w).name;
  const auto product = [&](Var in) {
    return gradwire::linear(cx, tape, in, tape.param(w),
                            bias == nullptr ? Var{} : tape.param(*bias));
  };
  if (!has_any(site)) return product(x);
  if (set_->changes_input(site)) {
    x = by_group(cx, tape, site, [&](Adapter* a, const auto& part) {
      return a == nullptr ? part(x) : a->input(cx, tape, part(x));
    });
  }
  const Var y = product(x);
  return by_group(cx, tape, site, [&](Adapter* a, const auto& part) {
    if (a == nullptr) return part(y);
    if (bias != nullptr && !a->allows_bias()) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("adapters: {} has a bias, which DoRA does not support", site));
    }
    return a->output(cx, tape, {part(x)}, part(y));
  });
}

Var Adaptation::sublayer(Context& cx, Tape& tape, const std::string& site, const SiteInput& in,
                         Var y) const {
  if (!has_any(site)) return y;
  return by_group(cx, tape, site, [&](Adapter* a, const auto& part) {
    if (a == nullptr) return part(y);
    return a->output(cx, tape, {part(in.x), part(in.stream)}, part(y));
  });
}

std::vector<Parameter*> Adaptation::parameters(const std::string& prefix) const {
  std::vector<int> used;
  for (const SampleGroup& g : groups_) {
    if (g.adapter != SampleGroup::kNone && std::ranges::find(used, g.adapter) == used.end())
      used.push_back(g.adapter);
  }
  std::vector<Parameter*> params;
  for (const int index : used) {
    const std::vector<Parameter*> own = set_->parameters_of_adapter(index, prefix);
    params.insert(params.end(), own.begin(), own.end());
  }
  return params;
}

}  // namespace gradwire
