// Reads every tensor of a file that was accepted: what is said of it must be there.
#pragma once

#include "core/weight_files/stored_tensor.h"

namespace gradwire::fuzz {

inline void touch(const StoredTensors& tensors) {
  for (const auto& [name, tensor] : tensors)
    if (is_decodable(tensor.type)) (void)decode(tensor);
}

}  // namespace gradwire::fuzz
