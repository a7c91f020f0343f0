#include "comm/codec/block_codec.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <immintrin.h>

#include "comm/codec/codec_input.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGroup = 64;
// Elements that are handed over at once: few enough to be in the first-level cache still, with what
// they are used for.
constexpr std::int64_t kPiece = 1024;

// Room for the parts of the last block of a tensor, which kernels fill to whole groups.
struct PaddedCode {
  alignas(64) std::byte codes[kMaxBlock * sizeof(float)];
  alignas(64) std::byte signs[kMaxBlock / 8];
};

// Bits that no element stands for are zero.
void clear_tail(std::byte* bytes, std::int64_t bits) {
  if (bits % 8 != 0) bytes[bits / 8] &= static_cast<std::byte>((1 << (bits % 8)) - 1);
}

// The live bits of a block, padded with zeros.
struct LiveBlock {
  alignas(64) std::byte bits[kMaxBlock / 8] = {};
  std::int64_t count = 0;
  LiveBlock(std::span<const std::byte> live, std::int64_t begin, std::int64_t n) {
    std::memcpy(bits, live.data() + begin / 8, static_cast<std::size_t>((n + 7) / 8));
    clear_tail(bits, n);
    for (const std::byte b : bits)
      count += std::popcount(static_cast<unsigned char>(b));
  }
};

// Whether some element of [begin, begin + n) is dead; as a rule none is, and blocks are worked on
// where they lie.
bool some_dead(std::span<const std::byte> live, std::int64_t begin, std::int64_t n) {
  if (live.empty()) return false;
  const std::byte* const bits = live.data() + begin / 8;
  std::byte all{0xFF};
  for (std::int64_t i = 0; i < n / 8; ++i)
    all &= bits[i];
  std::byte tail{0xFF};
  if (n % 8 != 0) tail = bits[n / 8] | static_cast<std::byte>(0xFF << (n % 8));
  return (all & tail) != std::byte{0xFF};
}

// Hands decoded values over. Dead coordinates, if there are some, keep their bits, so the block is
// merged in a copy that has room for whole groups.
void hand_over(const DecodeTarget& target, std::int64_t begin, std::int64_t n, bool dead,
               const float* values) {
  const InputKernels& loops = input_kernels();
  float* const to = target.to.data() + begin;
  const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(float);
  if (!dead) {
    if (target.add) {
      loops.add(to, values, target.weight, n);
    } else {
      std::memcpy(to, values, bytes);
    }
    return;
  }
  const LiveBlock live(target.live, begin, n);
  const std::int64_t padded = (n + kGroup - 1) / kGroup * kGroup;
  alignas(64) float merged[kMaxBlock];
  std::fill(merged + n, merged + padded, 0.0F);
  std::memcpy(merged, to, bytes);
  if (target.add) {
    loops.add_live(merged, values, target.weight, live.bits, padded);
  } else {
    loops.set_live(merged, values, live.bits, padded);
  }
  std::memcpy(to, merged, bytes);
}

}  // namespace

BlockCodec::BlockCodec(const BlockFormat& format, const BlockKernels& kernels)
    : format_(format), kernels_(kernels) {
  if (format.block < kGroup || format.block > kMaxBlock || format.block % kGroup != 0) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: block must be a multiple of {} up to {}, got {}", format.name,
                            kGroup, kMaxBlock, format.block));
  }
}

std::size_t BlockCodec::max_bytes(std::int64_t n) const {
  check_length(name(), n);
  const Place end = place_of(blocks_of(n), n);
  return end.signs;
}

BlockCodec::Place BlockCodec::place_of(std::int64_t block, std::int64_t n) const {
  Place at;
  at.begin = std::min(n, block * format_.block);
  at.count = std::min(n - at.begin, format_.block);
  at.padded = (at.count + kGroup - 1) / kGroup * kGroup;
  const std::size_t scales =
      format_.scaled ? sizeof(float) * static_cast<std::size_t>(blocks_of(n)) : 0;
  at.scale = sizeof(float) * static_cast<std::size_t>(block);
  at.codes = scales + bytes_of(at.begin * format_.code_bits);
  at.code_bytes = bytes_of(at.count * format_.code_bits);
  at.signs = scales + bytes_of(n * format_.code_bits);
  if (format_.signed_) {
    at.signs += bytes_of(at.begin);
    at.sign_bytes = bytes_of(at.count);
  }
  return at;
}

// Elements [first, first + kPiece) of a block.
BlockCodec::Place BlockCodec::part_of(const Place& block, std::int64_t first) const {
  Place at = block;
  at.begin += first;
  at.count = std::min(block.count - first, kPiece);
  at.padded = (at.count + kGroup - 1) / kGroup * kGroup;
  at.codes += bytes_of(first * format_.code_bits);
  at.code_bytes = bytes_of(at.count * format_.code_bits);
  if (format_.signed_) {
    at.signs += bytes_of(first);
    at.sign_bytes = bytes_of(at.count);
  }
  return at;
}

std::size_t BlockCodec::do_encode(const CodecInput& in, std::uint64_t stream,
                                  std::span<std::byte> out) const {
  const auto n = static_cast<std::int64_t>(in.x.size());
  if (!in.residual.empty() && !in.known_finite) require_finite(name(), in);
  std::atomic<bool> finite = true;
  parallel_for(blocks_of(n), grain(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      if (!encode_block(in, stream, place_of(b, n), out)) finite = false;
  });
  if (!finite) throw_not_finite(name(), in);
  return max_bytes(n);
}

bool BlockCodec::load_block(const CodecInput& in, const Place& at, float* c, double* norm1) const {
  BlockSource source = source_at(in, at.begin);
  if (in.momentum_code.empty()) return input_kernels().load(source, at.count, c, norm1);
  if (kernels_.load_coded != nullptr && at.count == at.padded) {
    float scale = 0.0F;
    const ConstBlockCode code = code_at(in.momentum_code, at, scale);
    return kernels_.load_coded(source, code, at.count, c, norm1);
  }
  alignas(64) float momentum[kMaxBlock];
  unpack(in.momentum_code, at, momentum);
  source.momentum = momentum;
  return input_kernels().load(source, at.count, c, norm1);
}

bool BlockCodec::encode_block(const CodecInput& in, std::uint64_t stream, const Place& at,
                              std::span<std::byte> out) const {
  alignas(64) float c[kMaxBlock];
  const InputKernels& loops = input_kernels();
  double norm1 = 0.0;
  if (!load_block(in, at, c, format_.norm1 ? &norm1 : nullptr)) return false;
  std::fill(c + at.count, c + at.padded, 0.0F);
  BlockInput block{c, at.padded, at.count, format_.levels, stream, at.begin, norm1};
  BlockCode code{nullptr, out.data() + at.codes, out.data() + at.signs};
  float scale = 0.0F;
  code.scale = &scale;
  float* residual = in.residual.empty() ? nullptr : in.residual.data() + at.begin;
  const auto count = static_cast<std::size_t>(at.count);
  const bool all_live = !some_dead(in.live, at.begin, at.count);
  if (at.count == at.padded && all_live) {
    kernels_.encode(block, code, residual);
  } else {
    PaddedCode padded;
    alignas(64) float lost[kMaxBlock];
    code.codes = padded.codes;
    code.signs = padded.signs;
    float* const wanted = residual == nullptr ? nullptr : lost;
    if (all_live) {
      kernels_.encode(block, code, wanted);
    } else {
      const LiveBlock live(in.live, at.begin, at.count);
      loops.zero_dead(c, live.bits, at.padded);
      block.count = std::max<std::int64_t>(live.count, 1);
      if (format_.norm1) block.norm1 = loops.norm1(c, at.padded);
      kernels_.encode(block, code, wanted);
      if (residual != nullptr) loops.zero_dead(lost, live.bits, at.padded);
    }
    clear_tail(padded.codes, at.count * format_.code_bits);
    clear_tail(padded.signs, at.count);
    std::memcpy(out.data() + at.codes, padded.codes, at.code_bytes);
    std::memcpy(out.data() + at.signs, padded.signs, at.sign_bytes);
    if (residual != nullptr) std::memcpy(residual, lost, count * sizeof(float));
  }
  if (format_.scaled) std::memcpy(out.data() + at.scale, &scale, sizeof scale);
  return true;
}

void BlockCodec::do_decode(std::span<const std::byte> in, const DecodeTarget& target) const {
  const auto n = static_cast<std::int64_t>(target.to.size());
  if (in.size() < max_bytes(n)) {
    throw Error(ErrorKind::kComm, fmt::format("{}: a payload of {} elements has {} bytes, got {}",
                                              name(), n, max_bytes(n), in.size()));
  }
  for (std::int64_t b = 0; format_.scaled && b < blocks_of(n); ++b) {
    float scale = 0.0F;
    std::memcpy(&scale, in.data() + place_of(b, n).scale, sizeof scale);
    if (!std::isfinite(scale) || scale < 0.0F) {
      throw Error(ErrorKind::kComm,
                  fmt::format("{}: scale of block {} of {} is {}, not a finite positive number",
                              name(), b, blocks_of(n), scale));
    }
  }
  parallel_for(blocks_of(n), grain(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const Place block = place_of(b, n);
      if (!target.done) {
        decode_block(in, block, target);
        continue;
      }
      for (std::int64_t first = 0; first < block.count; first += kPiece) {
        const Place part = part_of(block, first);
        decode_and_tell(in, part, target);
      }
    }
    _mm_sfence();  // stores past the cache have an order of their own
  });
}

// What has been used goes past the cache: so the line it lies in is not read first, and what the
// next pieces need is not driven out.
void BlockCodec::decode_and_tell(std::span<const std::byte> in, const Place& at,
                                 const DecodeTarget& target) const {
  float* const to = target.to.data() + at.begin;
  const std::int64_t end = at.begin + at.count;
  if (target.add || some_dead(target.live, at.begin, at.count)) {
    decode_block(in, at, target);
    return target.done(at.begin, end, to);
  }
  alignas(64) float values[kPiece];
  unpack(in, at, values);
  target.done(at.begin, end, values);
  input_kernels().store_past_cache(to, values, at.count);
}

void BlockCodec::decode_block(std::span<const std::byte> in, const Place& at,
                              const DecodeTarget& target) const {
  const bool dead = some_dead(target.live, at.begin, at.count);
  if (at.count == at.padded && !target.add && !dead)
    return unpack(in, at, target.to.data() + at.begin);
  alignas(64) float values[kMaxBlock];
  unpack(in, at, values);
  hand_over(target, at.begin, at.count, dead, values);
}

ConstBlockCode BlockCodec::code_at(std::span<const std::byte> in, const Place& at,
                                   float& scale) const {
  if (format_.scaled) std::memcpy(&scale, in.data() + at.scale, sizeof scale);
  return {&scale, in.data() + at.codes, in.data() + at.signs};
}

void BlockCodec::unpack(std::span<const std::byte> in, const Place& at, float* values) const {
  PaddedCode padded;
  float scale = 0.0F;
  ConstBlockCode code = code_at(in, at, scale);
  if (at.count != at.padded) {
    std::memset(&padded, 0, sizeof padded);
    std::memcpy(padded.codes, in.data() + at.codes, at.code_bytes);
    std::memcpy(padded.signs, in.data() + at.signs, at.sign_bytes);
    code.codes = padded.codes;
    code.signs = padded.signs;
  }
  if (!kernels_.decode(code, format_.levels, at.padded, values)) {
    throw Error(ErrorKind::kComm,
                fmt::format("{}: elements {} to {} have codes that no encoder writes", name(),
                            at.begin, at.begin + at.count - 1));
  }
}

}  // namespace gradwire
