// Logits of a foreign decoder, for comparison with another engine: for each line of token ids on
// standard input, the logits [V] after the last of them as f32, in binary, on standard output.
// Usage: decoder_logits MODEL [N]. With N, a line of the N tokens that greedy decoding adds follows
// on standard error.
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/formats/decoder_format.h"
#include "models/generate.h"

using namespace gradwire;

namespace {

std::vector<std::int32_t> ids_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; in >> id;)
    ids.push_back(id);
  return ids;
}

int run(const char* path, std::int64_t tokens) {
  Runtime runtime;
  Context& cx = runtime.context();
  const ForeignDecoder source = ForeignDecoder::open(path);
  source.check_tensors();
  DecoderLm model(cx, source.config());
  source.load(cx, model);
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::int32_t> ids = ids_of(line);
    const NextLogits next = next_logits_of(cx, model, std::ssize(ids));
    const std::vector<float> row = next(cx, Tensor::from(cx, {1, std::ssize(ids)}, ids));
    std::fwrite(row.data(), sizeof(float), row.size(), stdout);
    if (tokens == 0) continue;
    SamplingOptions greedy;
    greedy.max_tokens = tokens;
    greedy.temperature = 0.0;
    for (const std::int32_t id : generate(cx, model, ids, greedy))
      std::cerr << id << ' ';
    std::cerr << '\n';
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count < 2) throw Error(ErrorKind::kUsage, "decoder_logits MODEL [N]");
    return run(arguments[1], count > 2 ? std::stoll(arguments[2]) : 0);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
