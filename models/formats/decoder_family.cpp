#include "models/formats/decoder_family.h"

#include "core/error.h"

namespace gradwire {
namespace {

constexpr DecoderFamily kFamilies[] = {
    {"llama", "LlamaForCausalLM", false, false, true},
    {"mistral", "MistralForCausalLM", false, false, true},
    {"qwen2", "Qwen2ForCausalLM", true, false, false},
    {"qwen3", "Qwen3ForCausalLM", false, true, false},
};

}  // namespace

std::span<const DecoderFamily> decoder_families() {
  return kFamilies;
}

const DecoderFamily& family_of(const DecoderConfig& config) {
  for (const DecoderFamily& family : kFamilies) {
    if (family.qkv_bias == config.qkv_bias && family.qk_norm == config.qk_norm) return family;
  }
  throw Error(ErrorKind::kConfig,
              "no family of foreign decoders has both biases and norms of queries and keys");
}

}  // namespace gradwire
