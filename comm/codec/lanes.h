// Pieces of codec kernels that must come out the same for every instruction set: signs and
// comparisons as bits, codes of less than a byte. Only for *_simd.cpp files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "core/hd.h"
#include "core/lanes.h"

namespace gradwire {

// The unit of all kernels: blocks are padded to a multiple of it.
inline constexpr std::int64_t kGroup = 64;

// Bit i: c[i] >= 0, for 64 values; so -0 counts as +0.
GW_HD std::uint64_t non_negative_bits(const float* c) {
  std::uint64_t bits = 0;
#if defined(__AVX512F__)
  for (int i = 0; i < 4; ++i) {
    const __mmask16 mask =
        _mm512_cmp_ps_mask(_mm512_loadu_ps(c + 16 * i), _mm512_setzero_ps(), _CMP_GE_OQ);
    bits |= static_cast<std::uint64_t>(mask) << (16 * i);
  }
#elif defined(__AVX2__)
  for (int i = 0; i < 8; ++i) {
    const __m256 ge = _mm256_cmp_ps(_mm256_loadu_ps(c + 8 * i), _mm256_setzero_ps(), _CMP_GE_OQ);
    bits |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_ps(ge))) << (8 * i);
  }
#else
  for (int i = 0; i < 16; ++i) {
    const __m128 ge = _mm_cmpge_ps(_mm_loadu_ps(c + 4 * i), _mm_setzero_ps());
    bits |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_ps(ge))) << (4 * i);
  }
#endif
  return bits;
}

// Bit i: the magnitude of c[i], as an integer, is greater than t; for 64 values.
GW_HD std::uint64_t greater_bits(const float* c, std::int32_t t) {
  std::uint64_t bits = 0;
#if defined(__AVX512F__)
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF), limit = _mm512_set1_epi32(t);
  for (int i = 0; i < 4; ++i) {
    const __m512i x = _mm512_and_si512(_mm512_loadu_si512(c + 16 * i), magnitude);
    bits |= static_cast<std::uint64_t>(_mm512_cmpgt_epi32_mask(x, limit)) << (16 * i);
  }
#elif defined(__AVX2__)
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF), limit = _mm256_set1_epi32(t);
  for (int i = 0; i < 8; ++i) {
    const __m256i x = _mm256_castps_si256(_mm256_loadu_ps(c + 8 * i));
    const __m256i gt = _mm256_cmpgt_epi32(_mm256_and_si256(x, magnitude), limit);
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(gt));
    bits |= static_cast<std::uint64_t>(static_cast<unsigned>(mask)) << (8 * i);
  }
#else
  const __m128i magnitude = _mm_set1_epi32(0x7FFFFFFF), limit = _mm_set1_epi32(t);
  for (int i = 0; i < 16; ++i) {
    const __m128i x = _mm_castps_si128(_mm_loadu_ps(c + 4 * i));
    const __m128i gt = _mm_cmpgt_epi32(_mm_and_si128(x, magnitude), limit);
    const int mask = _mm_movemask_ps(_mm_castsi128_ps(gt));
    bits |= static_cast<std::uint64_t>(static_cast<unsigned>(mask)) << (4 * i);
  }
#endif
  return bits;
}

GW_HD std::uint32_t load_u32(const std::byte* from) {
  std::uint32_t word;
  memcpy(&word, from, sizeof word);
  return word;
}
GW_HD std::uint64_t load_u64(const std::byte* from) {
  std::uint64_t word;
  memcpy(&word, from, sizeof word);
  return word;
}

// The sign bits of 32 values from their bits in the sense of non_negative_bits().
GW_HD void unpack_signs(std::uint32_t non_negative, std::uint32_t* sign) {
  const std::uint32_t negative = ~non_negative;
  for (int i = 0; i < 32; ++i)
    sign[i] = (negative << (31 - i)) & 0x80000000U;
}

// Codes of `bits` = 2 or 4 bits, one per byte, put together, the first one lowest, and taken apart;
// n codes in whole groups. With 8 bits a code is a byte.
GW_HD void pack_codes(const std::uint8_t* codes, int bits, std::int64_t n, std::byte* packed) {
  if (bits == 8) {
    memcpy(packed, codes, static_cast<std::size_t>(n));
  } else if (bits == 4) {
    for (std::int64_t i = 0; i < n / 2; ++i) {
      std::uint16_t two;
      memcpy(&two, codes + 2 * i, sizeof two);
      packed[i] = static_cast<std::byte>((two & 0x0F) | ((two >> 4) & 0xF0));
    }
  } else {
    for (std::int64_t i = 0; i < n / 4; ++i) {
      const std::uint32_t four = load_u32(reinterpret_cast<const std::byte*>(codes + 4 * i));
      packed[i] = static_cast<std::byte>((four & 0x03) | ((four >> 6) & 0x0C) |
                                         ((four >> 12) & 0x30) | ((four >> 18) & 0xC0));
    }
  }
}
GW_HD void unpack_codes(const std::byte* packed, int bits, std::int64_t n, std::uint8_t* codes) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(packed);
  if (bits == 8) {
    memcpy(codes, bytes, static_cast<std::size_t>(n));
  } else if (bits == 4) {
    for (std::int64_t i = 0; i < n / 2; ++i) {
      codes[2 * i] = bytes[i] & 0x0F;
      codes[2 * i + 1] = static_cast<std::uint8_t>(bytes[i] >> 4);
    }
  } else {
    for (std::int64_t i = 0; i < n / 4; ++i)
      for (int j = 0; j < 4; ++j)
        codes[4 * i + j] = static_cast<std::uint8_t>((bytes[i] >> (2 * j)) & 0x03);
  }
}

}  // namespace gradwire
