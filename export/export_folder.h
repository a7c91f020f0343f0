// What `gradwire export` makes: a folder that appears whole or not at all.
#pragma once

#include <string>
#include <vector>

#include "export/owned_tensors.h"
#include "export/tokenizer_export.h"

namespace gradwire {

struct ExportedSafetensors {
  std::string stem;  // "model": of the file, or of its shards
  OwnedTensors content;
};
struct ExportedGguf {
  std::string name;  // "model.gguf"
  GgufMetadata metadata;
  OwnedTensors content;
};

struct ExportContents {
  SmallFiles files;
  SmallFiles notes;  // for people, who may change them
  std::vector<ExportedSafetensors> safetensors{};
  std::vector<ExportedGguf> gguf{};
};

// Throws kUsage if there is anything at `folder`, or no folder that it could be in.
void check_export_target(const std::string& folder);

// Writes all of it into a folder under a temporary name, each file read back and compared, syncs it
// and gives it its name. After an error nothing is left. Errors: kUsage as above; kIo; kData for
// values that a type cannot hold.
void write_export(const std::string& folder, const ExportContents& contents);

// Reads a folder back and compares everything but the notes. Errors: kData, naming the first file,
// tensor or key that differs, is missing or cannot be read.
void verify_export(const std::string& folder, const ExportContents& contents);

}  // namespace gradwire
