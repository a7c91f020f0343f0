// Reading safetensors: a JSON header with names, types, shapes and places, then the tensors, back
// to back (https://github.com/huggingface/safetensors). Files are hostile input: every size is
// checked against the file before anything is allocated for it, and what the format's own library
// refuses is refused. Errors: kData, naming file and tensor; those of MappedFile.
#pragma once

#include <map>
#include <string>

#include "core/weight_files/stored_tensor.h"

namespace gradwire {

struct SafetensorsFile {
  StoredTensors tensors;
  std::map<std::string, std::string> metadata;
};

SafetensorsFile read_safetensors(const std::string& path);

// A folder with model.safetensors, or with shards and model.safetensors.index.json, which names
// every tensor and the shard it is in. Tensors that the index does not name are an error, as are
// shards outside the folder.
StoredTensors read_safetensors_folder(const std::string& folder);

// The same of files "{stem}.safetensors" and "{stem}.safetensors.index.json".
StoredTensors read_safetensors_folder(const std::string& folder, const std::string& stem);

}  // namespace gradwire
