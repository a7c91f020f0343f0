#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "core/bf16.h"
#include "core/error.h"
#include "core/f16.h"
#include "core/weight_files/blocks.h"

namespace gradwire {
namespace {

void put_half(float x, std::byte* to) {
  const std::uint16_t bits = float_to_f16(x);
  std::memcpy(to, &bits, sizeof bits);
}

constexpr int kBlock = 32;

float largest_size(const float* x) {
  float largest = 0.0F;
  for (int i = 0; i < kBlock; ++i)
    largest = std::max(largest, std::abs(x[i]));
  return largest;
}

void encode_q8_0(const float* x, std::byte* to) {
  const float d = largest_size(x) / 127.0F;
  const float inverse = d == 0.0F ? 0.0F : 1.0F / d;
  put_half(d, to);
  for (int i = 0; i < kBlock; ++i)
    to[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * inverse)));
}

// The value of the largest size becomes -8, so that all 16 numbers are used.
void encode_q4_0(const float* x, std::byte* to) {
  const float* largest =
      std::max_element(x, x + kBlock, [](float a, float b) { return std::abs(a) < std::abs(b); });
  const float d = *largest / -8.0F;
  const float inverse = d == 0.0F ? 0.0F : 1.0F / d;
  const auto number = [&](int i) { return std::min(15, static_cast<int>(x[i] * inverse + 8.5F)); };
  put_half(d, to);
  for (int i = 0; i < kBlock / 2; ++i)
    to[2 + i] = static_cast<std::byte>(number(i) | number(i + kBlock / 2) << 4);
}

// Of a block the scale must fit F16 as well, and it is largest / 127 at least.
void check_values(ElementType type, std::span<const float> values) {
  constexpr float kMostF16 = 65504.0F;
  for (const float x : values) {
    const bool fits = type == ElementType::kF16
                          ? !(std::abs(x) >= kMostF16 + 16.0F) || std::isinf(x)
                      : type == ElementType::kQ8_0 ? std::abs(x) <= kMostF16 * 127.0F
                                                   : std::abs(x) <= kMostF16 * 8.0F;
    if (!fits) {
      throw Error(ErrorKind::kData, fmt::format("{} cannot be written as {}", x, name_of(type)));
    }
  }
}

}  // namespace

void encode(ElementType type, std::span<const float> values, std::span<std::byte> out) {
  const ElementLayout layout = layout_of(type);
  const std::int64_t blocks = std::ssize(values) / layout.block_elements;
  if (std::ssize(values) % layout.block_elements != 0 ||
      std::ssize(out) != blocks * layout.block_bytes) {
    throw Error(ErrorKind::kShape, fmt::format("encode: {} floats are not {} bytes of {}",
                                               values.size(), out.size(), layout.name));
  }
  const auto all = [&](const auto& one) {
    for (std::int64_t b = 0; b < blocks; ++b)
      one(values.data() + b * layout.block_elements, out.data() + b * layout.block_bytes);
  };
  switch (type) {
    case ElementType::kF32:
      if (!out.empty()) std::memcpy(out.data(), values.data(), out.size());
      return;
    case ElementType::kF16:
      check_values(type, values);
      return all([](const float* x, std::byte* to) { put_half(*x, to); });
    case ElementType::kBf16:
      return all([](const float* x, std::byte* to) {
        const Bf16 narrow(*x);
        std::memcpy(to, &narrow, sizeof narrow);
      });
    case ElementType::kQ8_0: check_values(type, values); return all(encode_q8_0);
    case ElementType::kQ4_0: check_values(type, values); return all(encode_q4_0);
    default:
      throw Error(ErrorKind::kUsage, fmt::format("tensors cannot be written as {}", layout.name));
  }
}

}  // namespace gradwire
