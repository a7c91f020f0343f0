// A layer is a struct of parameters with a forward function. Parameter names are full paths, given
// at construction, and follow the Hugging Face names of the architecture if there is one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/parameter_set.h"

namespace gradwire {

class Module {
 public:
  using Visitor = std::function<void(Parameter&)>;
  virtual ~Module() = default;
  // Every parameter once, in order of declaration.
  virtual void visit_params(const Visitor& f) = 0;
};

std::vector<Parameter*> parameters_of(Module& m);
std::vector<Parameter*> trainable_parameters_of(Module& m);
std::vector<Parameter*> frozen_parameters_of(Module& m);
std::int64_t count_elements(const std::vector<Parameter*>& params);

// Makes exactly the parameters trainable whose name matches one of the patterns (core/glob.h).
// Errors: kConfig for a pattern that matches no parameter, naming it, unless `m` is but a part of a
// model: another part may have what it matches.
void set_trainable(Module& m, const std::vector<std::string>& patterns, bool is_part = false);

// Gives `p` its name and value: f32, normal with `stddev`, or the constant. The random numbers
// depend on (seed, name) alone, so that a parameter is the same in whatever order or stage it is
// made.
void init_normal(Context& cx, Parameter& p, std::string name, const Shape& shape, double stddev);
void init_constant(Context& cx, Parameter& p, std::string name, const Shape& shape, double value);

}  // namespace gradwire
