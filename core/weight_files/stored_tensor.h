// A tensor as it lies in a mapped file of a model. It keeps the mapping alive, and costs no memory
// of its own: pages are shared by the ranks of a host. Whoever needs floats decodes as many
// elements at a time as it likes, so that a frozen weight can stay in its file, in bf16 or in
// quantised blocks, and be decoded tile by tile in the product that reads it.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "core/weight_files/element_type.h"
#include "core/weight_files/mapped_file.h"

namespace gradwire {

struct StoredTensor {
  ElementType type = ElementType::kF32;
  Shape shape{};  // row-major, the last dimension fastest
  std::span<const std::byte> bytes{};
  std::shared_ptr<const MappedFile> file{};
};

// By name.
using StoredTensors = std::map<std::string, StoredTensor, std::less<>>;

// The elements from `begin` on, row-major, as floats; both ends must lie between blocks. F64 is
// rounded, all others are exact or, in blocks, what ggml's reference gives, to the bit. Errors:
// kShape for elements that are not there or not decodable.
void decode(const StoredTensor& tensor, std::int64_t begin, std::span<float> out);
std::vector<float> decode(const StoredTensor& tensor);

}  // namespace gradwire
