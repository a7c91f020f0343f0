// Writing safetensors (core/weight_files/safetensors.h reads it). A file appears whole or not at
// all: it is written under a temporary name, read back with the reader and compared tensor by
// tensor, synced, and renamed into place.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "export/tensor_to_write.h"

namespace gradwire {

// Tensors, of F32, F16 or BF16, are placed by type, widest first, then by name, so that each is
// aligned to its type, as the format's own library does it; the data begins on a multiple of 64
// bytes. Errors: kUsage for tensors that no file can have; kData for a value that the type cannot
// hold, naming the tensor; kIo, also if what is read back differs.
void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

inline constexpr std::int64_t kShardBytes = std::int64_t{5} << 30;  // as Hugging Face cuts models

// "{stem}.safetensors" in a folder; or, if the tensors take more than `shard_bytes`,
// "{stem}-00001-of-00002.safetensors", ..., and "{stem}.safetensors.index.json". Tensors fill
// shards in the order given; one that is larger than a shard has its own. Errors: as above.
void write_safetensors_folder(const std::string& folder, const std::string& stem,
                              const std::vector<TensorToWrite>& tensors,
                              std::int64_t shard_bytes = kShardBytes);

}  // namespace gradwire
