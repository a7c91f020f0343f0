// Which adapters the samples of one forward pass get, and what a model's layers call at their
// sites. Samples that share an adapter stand beside each other: the base's products are made for
// all of them at once, the adapters' for each group.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/adapters/adapter_set.h"

namespace gradwire {

// Samples [begin, end) of a batch get this adapter of the set.
struct SampleGroup {
  static constexpr int kNone = -1;  // the base as it is
  std::int64_t begin = 0, end = 0;
  int adapter = kNone;
};

class Adaptation {
 public:
  // The base as it is, for all samples.
  Adaptation() = default;
  // The groups follow one another and cover the batch. The set must outlive it.
  Adaptation(AdapterSet& set, std::vector<SampleGroup> groups);
  // One adapter for all samples, of which there may be any number.
  Adaptation(AdapterSet& set, int adapter);

  // The linear layer of weight `w`, and of `bias` if it has one, for x [B, T, in], with what is
  // attached to it. Errors: kConfig for a bias under an adapter that cannot have one (DoRA).
  Var linear(Context& cx, Tape& tape, Var x, Parameter& w, Parameter* bias = nullptr) const;
  // What sublayer `site` gives, y [B, T, out], as its adapters change it.
  Var sublayer(Context& cx, Tape& tape, const std::string& site, const SiteInput& in, Var y) const;
  // Of the adapters in use, the parameters at sites whose name begins with `prefix`.
  std::vector<Parameter*> parameters(const std::string& prefix) const;

 private:
  using OfGroup = std::function<Var(Adapter*, const std::function<Var(Var)>& part)>;
  bool has_any(const std::string& site) const;
  // Joins what `f` gives for each group; part(v) is the group's part of a tensor of the batch.
  Var by_group(Context& cx, Tape& tape, const std::string& site, const OfGroup& f) const;

  AdapterSet* set_ = nullptr;
  std::vector<SampleGroup> groups_;
};

}  // namespace gradwire
