// The index of a model in shards; the shards beside it are well.
#include <string_view>

#include "core/weight_files/safetensors.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/touch.h"

namespace {

std::string shard(const std::string& tensor) {
  const std::string header =
      R"({")" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  return bytes + header + std::string(4, '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  [[maybe_unused]] static const bool shards_written = [] {
    for (const char* name : {"a", "b"}) {
      const std::string bytes = shard(name);
      folder.write(std::string(name) + ".safetensors", bytes.data(), bytes.size());
    }
    return true;
  }();
  folder.write("model.safetensors.index.json", data, size);
  return gradwire::fuzz::run_reader(
      [] { gradwire::fuzz::touch(gradwire::read_safetensors_folder(folder.path())); });
}
