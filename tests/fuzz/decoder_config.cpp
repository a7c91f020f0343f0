// config.json of a decoder's folder; the tensors beside it are those of a LLaMA of one layer.
#include <string_view>

#include <fmt/format.h>

#include "models/formats/decoder_format.h"
#include "tests/fuzz/fuzz_file.h"

namespace {

// All shapes are [2, 2] or [2]: what the smallest seed asks for.
std::string weights() {
  std::string header = "{", separator;
  int end = 0;
  const auto add = [&](const char* name, const char* shape, int bytes) {
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":{},"data_offsets":[{},{}]}})",
                          separator, name, shape, end, end + bytes);
    separator = ",";
    end += bytes;
  };
  for (const char* vector : {"model.layers.0.input_layernorm.weight",
                             "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"})
    add(vector, "[2]", 8);
  for (const char* matrix :
       {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.v_proj.weight",
        "model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"})
    add(matrix, "[2,2]", 16);
  header += "}";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size() & 0xff);
  bytes[1] = static_cast<char>(header.size() >> 8);
  return bytes + header + std::string(static_cast<std::size_t>(end), '\0');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradwire::fuzz::Folder folder;
  [[maybe_unused]] static const bool weights_written = [] {
    const std::string bytes = weights();
    folder.write("model.safetensors", bytes.data(), bytes.size());
    return true;
  }();
  folder.write("config.json", data, size);
  return gradwire::fuzz::run_reader(
      [] { gradwire::ForeignDecoder::open(folder.path()).check_tensors(); });
}
