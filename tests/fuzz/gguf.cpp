// A file of GGUF: its tensors, and every value of its metadata asked for in every way.
#include "core/weight_files/gguf.h"

#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/touch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using gradwire::fuzz::may_refuse;
  static const gradwire::fuzz::Folder folder;
  folder.write("file", data, size);
  return gradwire::fuzz::run_reader([] {
    const gradwire::GgufFile file = gradwire::GgufFile::open(folder.file("file"));
    gradwire::fuzz::touch(file.tensors());
    for (const auto& [key, value] : file.metadata()) {
      may_refuse([&] { (void)file.text(key); });
      may_refuse([&] { (void)file.integer(key); });
      may_refuse([&] { (void)file.number(key); });
      may_refuse([&] { (void)file.flag(key); });
      may_refuse([&] { (void)file.texts(key); });
      may_refuse([&] { (void)file.integers(key); });
      may_refuse([&] { (void)file.numbers(key); });
    }
  });
}
