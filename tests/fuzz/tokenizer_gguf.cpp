// The vocabulary in a file of GGUF, and texts cut by what it says.
#include "data/tokenizer.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  folder.write("file.gguf", data, size);
  return gradwire::fuzz::run_reader(
      [] { gradwire::fuzz::use(*gradwire::Tokenizer::load(folder.file("file.gguf"))); });
}
