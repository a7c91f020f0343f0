// Names of a decoder's parameters in GGUF files, and the order of rows in which they differ.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gradwire {

// "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight". Errors: kUsage for a name that no
// decoder has.
std::string gguf_name(std::string_view ours);

// True of the weights and biases that make queries and keys: GGUF files of the architecture "llama"
// turn neighbouring elements of a head, Hugging Face and this project element j and j + Dh/2, so
// that their rows are in another order.
bool is_turned(std::string_view ours);

// Puts the rows [heads * head_width, row] of such a tensor into the order of this project, or back
// into that of GGUF.
void from_gguf_order(std::span<float> values, std::int64_t heads, std::int64_t head_width);
void to_gguf_order(std::span<float> values, std::int64_t heads, std::int64_t head_width);

}  // namespace gradwire
