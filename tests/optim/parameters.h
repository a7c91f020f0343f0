// Small parameters with given values and gradients, for tests of optimizers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/tape.h"

namespace gradwire::test {

class Parameters {
 public:
  explicit Parameters(Context& cx) : cx_(cx) {}

  Parameter& add(const std::string& name, const std::vector<float>& value) {
    Parameter& p = *owned_.emplace_back(std::make_unique<Parameter>());
    p.name = name;
    p.value = Tensor::from(cx_, {static_cast<std::int64_t>(value.size())}, value);
    list_.push_back(&p);
    return p;
  }
  void set_grad(Parameter& p, const std::vector<float>& grad) {
    p.grad = Tensor::from(cx_, p.value.shape(), grad);
    p.grad_empty = false;
  }
  const std::vector<Parameter*>& list() const { return list_; }

 private:
  Context& cx_;
  std::vector<std::unique_ptr<Parameter>> owned_;
  std::vector<Parameter*> list_;
};

}  // namespace gradwire::test
