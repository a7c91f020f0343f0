// A tokenizer.json, and texts by it.
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  folder.write("tokenizer.json", data, size);
  return gradwire::fuzz::run_reader(
      [] { gradwire::fuzz::use(*gradwire::Tokenizer::load(folder.file("tokenizer.json"))); });
}
