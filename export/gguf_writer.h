// Writing GGUF version 3 (core/weight_files/gguf.h reads it), as llama.cpp's loader wants it: each
// tensor on a multiple of 32 bytes, in the order of the header. A file appears whole or not at all,
// as in export/safetensors_writer.h.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "export/tensor_to_write.h"

namespace gradwire {

using GgufValueToWrite =
    std::variant<bool, std::uint32_t, std::int32_t, float, std::string, std::vector<std::string>,
                 std::vector<float>, std::vector<std::int32_t>>;
using GgufMetadata = std::vector<std::pair<std::string, GgufValueToWrite>>;

// Errors: kUsage for names that the format cannot have: empty, given twice, a tensor's of 64 bytes
// or more; those of encoded_bytes() and encode_in_parts(); kIo, also if what is read back differs.
void write_gguf(const std::string& path, const GgufMetadata& metadata,
                const std::vector<TensorToWrite>& tensors);

// Throws kIo unless the file at `path` has exactly this content. Errors: also those of GgufFile.
// `name` stands for the file in messages.
void compare_gguf(const std::string& path, const std::string& name, const GgufMetadata& metadata,
                  const std::vector<TensorToWrite>& tensors);

}  // namespace gradwire
