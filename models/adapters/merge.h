// Adapters made part of the weights they are attached to, and taken out again.
#pragma once

#include <utility>
#include <vector>

#include "models/adapters/adapter_set.h"

namespace gradwire {

// Values of parameters, to give back later, bit for bit.
class ParameterCopies {
 public:
  void keep(Context& cx, Parameter& p);
  // The one kept first of each parameter counts.
  void give_back(Context& cx);

 private:
  std::vector<std::pair<Parameter*, Tensor>> copies_;
};

// Changes the weights of `model` so that it gives without adapter `index` what it gave with it, but
// for rounding: sums are made in f64 and rounded once. `before` gets the values that were there, so
// that merging can be undone; null if nobody wants them. Errors: kConfig, naming the site, for
// adapters that no weight can stand for (bottlenecks, VL-PET, and BitFit at a layer without bias);
// kNumeric for a merged weight that is not finite. After an error the model must not be used
// unless `before` is given back.
void merge_adapter(Context& cx, Module& model, AdapterSet& set, int index,
                   ParameterCopies* before = nullptr);

}  // namespace gradwire
