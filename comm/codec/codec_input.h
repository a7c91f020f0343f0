// Helpers that implementations of Codec share: inputs as blocks, and the errors they lead to.
#pragma once

#include "comm/codec/codec.h"
#include "comm/codec/input_kernels.h"

namespace gradwire {

inline BlockSource source_at(const CodecInput& in, std::int64_t begin) {
  const auto at = [begin](std::span<const float> s) {
    return s.empty() ? nullptr : s.data() + begin;
  };
  return {at(in.x), at(in.residual), at(in.momentum), in.beta, in.weight};
}

// Error kNumeric that names the first element that is not finite. Reads all inputs once.
void require_finite(const char* codec, const CodecInput& in);
// The same for inputs of which some are known not to be.
[[noreturn]] void throw_not_finite(const char* codec, const CodecInput& in);

// Error kUsage unless 0 <= n < 2^31.
void check_length(const char* codec, std::int64_t n);

inline std::size_t bytes_of(std::int64_t bits) {
  return static_cast<std::size_t>((bits + 7) / 8);
}

}  // namespace gradwire
