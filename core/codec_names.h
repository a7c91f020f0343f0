#pragma once

#include <array>
#include <string_view>

namespace gradwire {

// The codecs that there are (comm/codec/make_codec.cpp makes them), as recipes, tables and errors
// name them.
inline constexpr std::array<std::string_view, 9> kCodecNames = {
    "sign", "topk", "randk", "int8", "int4", "qsgd", "natural", "bf16", "identity"};

}  // namespace gradwire
