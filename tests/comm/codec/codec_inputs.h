// Inputs and helpers that the codec tests share.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "comm/codec/codec.h"
#include "core/codec_names.h"

namespace gradwire::test {

inline const std::vector<std::string>& all_codecs() {
  static const std::vector<std::string> names(kCodecNames.begin(), kCodecNames.end());
  return names;
}

inline std::vector<float> normal_values(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x)
    v = normal(engine);
  return x;
}

inline std::vector<std::byte> encoded(const Codec& codec, const CodecInput& in,
                                      const CodecKey& key = {}) {
  std::vector<std::byte> out(codec.max_bytes(static_cast<std::int64_t>(in.x.size())));
  out.resize(codec.encode(in, key, out));
  return out;
}

inline std::vector<float> decoded(const Codec& codec, std::span<const std::byte> payload,
                                  std::size_t n) {
  std::vector<float> values(n, std::nanf(""));  // a value that is left out shows
  codec.decode(payload, values);
  return values;
}

inline double squared_norm(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x)
    sum += static_cast<double>(v) * static_cast<double>(v);
  return sum;
}

inline std::vector<std::uint32_t> bits_of(std::span<const float> x) {
  std::vector<std::uint32_t> bits;
  for (const float v : x)
    bits.push_back(std::bit_cast<std::uint32_t>(v));
  return bits;
}

}  // namespace gradwire::test
