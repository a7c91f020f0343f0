// Writing safetensors (core/weight_files/safetensors.h reads it). A file appears whole or not at
// all: it is written under a temporary name, read back with the reader and compared tensor by
// tensor, synced, and renamed into place.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "core/weight_files/element_type.h"

namespace gradwire {

struct TensorToWrite {
  std::string name;
  ElementType type = ElementType::kF32;  // F32, F16 or BF16
  Shape shape{};
  // Row-major, in host memory; must stay there while they are written.
  std::span<const float> values{};
};

// Tensors are placed by type, widest first, then by name, so that each is aligned to its type, as
// the format's own library does it; the data begins on a multiple of 64 bytes. Errors: kUsage for
// tensors that no file can have; kData for a value that the type cannot hold, naming the tensor;
// kIo, also if what is read back differs.
void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace gradwire
