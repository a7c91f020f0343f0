#include "models/formats/decoder_names.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

struct NamePair {
  std::string_view ours, gguf;
};

constexpr NamePair kOutside[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
};
constexpr NamePair kInBlock[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr std::string_view kBlocks = "model.layers.";

template <class Move>
void move_rows(std::span<float> values, std::int64_t heads, std::int64_t head_width,
               const Move& from_row) {
  const std::vector<float> old(values.begin(), values.end());
  const std::int64_t row = std::ssize(values) / (heads * head_width);
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t i = 0; i < head_width; ++i) {
      const auto* from = old.data() + (h * head_width + from_row(i)) * row;
      std::copy(from, from + row, values.data() + (h * head_width + i) * row);
    }
  }
}

}  // namespace

std::string gguf_name(std::string_view ours) {
  const std::size_t dot = ours.rfind('.');
  const std::string_view stem = ours.substr(0, dot);
  const std::string_view suffix = dot == std::string_view::npos ? "" : ours.substr(dot);
  for (const NamePair& pair : kOutside)
    if (stem == pair.ours) return fmt::format("{}{}", pair.gguf, suffix);
  if (stem.starts_with(kBlocks)) {
    const std::string_view rest = stem.substr(kBlocks.size());
    const std::size_t end = std::min(rest.find('.'), rest.size());
    for (const NamePair& pair : kInBlock) {
      if (end < rest.size() && rest.substr(end + 1) == pair.ours) {
        return fmt::format("blk.{}.{}{}", rest.substr(0, end), pair.gguf, suffix);
      }
    }
  }
  throw Error(ErrorKind::kUsage, fmt::format("no parameter of a decoder: {}", ours));
}

bool is_turned(std::string_view ours) {
  return ours.find(".self_attn.q_proj.") != std::string_view::npos ||
         ours.find(".self_attn.k_proj.") != std::string_view::npos;
}

void from_gguf_order(std::span<float> values, std::int64_t heads, std::int64_t head_width) {
  const std::int64_t half = head_width / 2;
  move_rows(values, heads, head_width, [half](std::int64_t i) { return i % half * 2 + i / half; });
}

void to_gguf_order(std::span<float> values, std::int64_t heads, std::int64_t head_width) {
  const std::int64_t half = head_width / 2;
  move_rows(values, heads, head_width, [half](std::int64_t i) { return i % 2 * half + i / 2; });
}

}  // namespace gradwire
