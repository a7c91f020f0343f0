// A tensor on its way into a file of a model.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "core/tensor.h"
#include "core/weight_files/element_type.h"
#include "core/weight_files/stored_tensor.h"

namespace gradwire {

struct TensorToWrite {
  std::string name;
  ElementType type = ElementType::kF32;  // as it stands in the file
  Shape shape{};
  // Row-major, in host memory; must stay there while they are written.
  std::span<const float> values{};
};

// Bytes in the file. Errors: kUsage if there are not as many values as the shape says; kData if a
// row, the last dimension, is no whole number of the type's blocks.
std::int64_t encoded_bytes(const TensorToWrite& tensor);

// Calls use(offset, bytes) with the encoded tensor, a part at a time. Errors: kData for a value
// that the type cannot hold, naming the tensor.
void encode_in_parts(const TensorToWrite& tensor,
                     const std::function<void(std::size_t, std::span<const std::byte>)>& use);

// Throws kIo, naming `path` and the tensor, unless `found` has exactly these tensors, in type,
// shape and every byte.
void compare_tensors(const std::string& path, const StoredTensors& found,
                     std::span<const TensorToWrite> wanted);

}  // namespace gradwire
