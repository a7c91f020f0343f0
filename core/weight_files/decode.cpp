#include <cstring>

#include <fmt/format.h>

#include "core/bf16.h"
#include "core/error.h"
#include "core/f16.h"
#include "core/weight_files/blocks.h"
#include "core/weight_files/stored_tensor.h"

// The layouts are those of ggml (ggml-common.h); each value is computed in the order of its
// reference, d * q + m with two roundings, so that the results are equal to the bit.
namespace gradwire {
namespace {

using Byte = std::uint8_t;

template <class T>
T value_at(const Byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
float half_at(const Byte* from) {
  return f16_to_float(value_at<std::uint16_t>(from));
}

constexpr int kHalf = 16;  // of a block of 32: low nibbles come first, then high ones

void decode_q8_0(const Byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 2 * kHalf; ++i)
    out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
}

void decode_q4_0(const Byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < kHalf; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 0xF) - 8);
    out[i + kHalf] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void decode_q4_1(const Byte* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  for (int i = 0; i < kHalf; ++i) {
    out[i] = d * static_cast<float>(block[4 + i] & 0xF) + m;
    out[i + kHalf] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

// The fifth bits of 32 numbers, and their low four bits.
int five_bits(std::uint32_t fifth, const Byte* low, int i) {
  const int nibble = i < kHalf ? low[i] & 0xF : low[i - kHalf] >> 4;
  return nibble | static_cast<int>((fifth >> i) & 1U) << 4;
}

void decode_q5_0(const Byte* block, float* out) {
  const float d = half_at(block);
  const auto fifth = value_at<std::uint32_t>(block + 2);
  for (int i = 0; i < 2 * kHalf; ++i)
    out[i] = d * static_cast<float>(five_bits(fifth, block + 6, i) - 16);
}

void decode_q5_1(const Byte* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  const auto fifth = value_at<std::uint32_t>(block + 4);
  for (int i = 0; i < 2 * kHalf; ++i)
    out[i] = d * static_cast<float>(five_bits(fifth, block + 8, i)) + m;
}

// Eight pairs of a scale and a minimum of six bits each, packed into 12 bytes.
struct ScaleAndMinimum {
  int scale, minimum;
};
ScaleAndMinimum pair_of(const Byte* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 0xF) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6)
                                                                                        << 4};
}

void decode_q4_k(const Byte* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const Byte* numbers = block + 16;
  for (int j = 0; j < 8; ++j) {
    const ScaleAndMinimum p = pair_of(block + 4, j);
    const float scale = d * static_cast<float>(p.scale);
    const float minimum = dmin * static_cast<float>(p.minimum);
    const int shift = j % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (numbers[j / 2 * 32 + i] >> shift) & 0xF;
      out[j * 32 + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode_q6_k(const Byte* block, float* out) {
  const Byte *low = block, *high = block + 128, *scales = block + 192;
  const float d = half_at(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = i / 128, row = i % 128 / 32, column = i % 32;
    const int nibble = low[part * 64 + row % 2 * 32 + column] >> (row / 2 * 4) & 0xF;
    const int top = high[part * 32 + column] >> (row * 2) & 3;
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[i / 16]));
    out[i] = scale * static_cast<float>((nibble | top << 4) - 32);
  }
}

template <class Decode>
void each_block(ElementType type, std::span<const std::byte> bytes, float* out, const Decode& one) {
  const ElementLayout layout = layout_of(type);
  const auto* block = reinterpret_cast<const Byte*>(bytes.data());
  const auto* end = block + bytes.size();
  for (; block != end; block += layout.block_bytes, out += layout.block_elements)
    one(block, out);
}

}  // namespace

void decode(ElementType type, std::span<const std::byte> bytes, std::span<float> out) {
  const ElementLayout layout = layout_of(type);
  const std::int64_t blocks = std::ssize(out) / layout.block_elements;
  if (!is_decodable(type) || std::ssize(out) % layout.block_elements != 0 ||
      std::ssize(bytes) != blocks * layout.block_bytes) {
    throw Error(ErrorKind::kShape, fmt::format("decode: {} bytes of {} are not {} floats",
                                               bytes.size(), layout.name, out.size()));
  }
  const auto all = [&](const auto& one) { each_block(type, bytes, out.data(), one); };
  switch (type) {
    case ElementType::kF64:
      return all([](const Byte* b, float* o) { *o = static_cast<float>(value_at<double>(b)); });
    case ElementType::kF32:
      if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case ElementType::kF16: return all([](const Byte* b, float* o) { *o = half_at(b); });
    case ElementType::kBf16:
      return all([](const Byte* b, float* o) { *o = static_cast<float>(value_at<Bf16>(b)); });
    case ElementType::kQ8_0: return all(decode_q8_0);
    case ElementType::kQ5_1: return all(decode_q5_1);
    case ElementType::kQ5_0: return all(decode_q5_0);
    case ElementType::kQ4_1: return all(decode_q4_1);
    case ElementType::kQ4_0: return all(decode_q4_0);
    case ElementType::kQ6K: return all(decode_q6_k);
    case ElementType::kQ4K: return all(decode_q4_k);
    default: break;  // integers, refused above
  }
}

void decode(const StoredTensor& tensor, std::int64_t begin, std::span<float> out) {
  const ElementLayout layout = layout_of(tensor.type);
  if (begin < 0 || begin % layout.block_elements != 0 ||
      begin > tensor.shape.numel() - std::ssize(out)) {
    throw Error(ErrorKind::kShape,
                fmt::format("decode: {} elements at {} of a tensor {} in blocks of {}", out.size(),
                            begin, to_string(tensor.shape), layout.block_elements));
  }
  const auto at = static_cast<std::size_t>(begin / layout.block_elements * layout.block_bytes);
  const auto size = static_cast<std::size_t>((std::ssize(out) + layout.block_elements - 1) /
                                             layout.block_elements * layout.block_bytes);
  decode(tensor.type, tensor.bytes.subspan(at, std::min(size, tensor.bytes.size() - at)), out);
}

std::vector<float> decode(const StoredTensor& tensor) {
  std::vector<float> out(static_cast<std::size_t>(tensor.shape.numel()));
  decode(tensor, 0, out);
  return out;
}

}  // namespace gradwire
