// Tensors on their way into files, with their values.
#pragma once

#include <string>
#include <vector>

#include "export/tensor_to_write.h"

namespace gradwire {

// Tensors with the values that they are written from.
struct OwnedTensors {
  OwnedTensors() = default;
  OwnedTensors(OwnedTensors&&) = default;
  OwnedTensors& operator=(OwnedTensors&&) = default;

  std::vector<TensorToWrite> tensors;
  std::vector<std::vector<float>> values;

  void add(std::string name, ElementType type, const Shape& shape, std::vector<float> of_it);
  // How far the values in the file are from these: the root of the sum of squared differences, in
  // parts of the root of the sum of squares.
  double rounding() const;
};

}  // namespace gradwire
