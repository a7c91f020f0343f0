// A single file of safetensors.
#include "core/weight_files/safetensors.h"

#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/touch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  folder.write("file", data, size);
  return gradwire::fuzz::run_reader(
      [] { gradwire::fuzz::touch(gradwire::read_safetensors(folder.file("file")).tensors); });
}
