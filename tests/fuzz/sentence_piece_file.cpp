// What is read of a SentencePiece model's file to write its vocabulary elsewhere.
#include "data/tokenizers/sentence_piece_file.h"

#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  return gradwire::fuzz::run_reader([&] { gradwire::read_sentence_piece_file("file", bytes); });
}
