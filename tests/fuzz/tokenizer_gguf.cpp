// The vocabulary of a GGUF file, and texts and conversations by it.
#include "data/tokenizers/gguf_tokenizer.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  folder.write("file", data, size);
  return gradwire::fuzz::run_reader([] {
    const auto file = gradwire::GgufFile::open(folder.file("file"));
    gradwire::fuzz::use(*gradwire::gguf_tokenizer(file));
  });
}
