#include "parallel/pipeline/difference_code.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kBlocksOfChunk = (std::int64_t{1} << 16) / DifferenceCode::kBlock;
constexpr std::uint32_t kInfinity = 0x7F800000;

// The bits of |x|: as integers they are ordered as the numbers are, with NaN above infinity.
std::uint32_t magnitude(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
}

}  // namespace

DifferenceCode::DifferenceCode(std::int64_t numel)
    : codec_(make_codec({.name = "int8", .block = kBlock})),
      numel_(numel),
      bytes_(static_cast<std::int64_t>(codec_->max_bytes(numel)) + blocks()) {}

// f(block, its first element, its length).
template <class F>
void DifferenceCode::for_blocks(const F& f) const {
  parallel_for(blocks(), kBlocksOfChunk, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      f(b, b * kBlock, std::min(kBlock, numel_ - b * kBlock));
  });
}

void DifferenceCode::encode(std::span<const float> x, std::span<float> reference,
                            std::span<float> difference, std::span<std::byte> out) const {
  std::byte* const kinds = out.data() + (bytes_ - blocks());
  for_blocks([&](std::int64_t b, std::int64_t at, std::int64_t n) {
    float* const m = reference.empty() ? nullptr : reference.data() + at;
    kinds[b] = static_cast<std::byte>(take_difference(x.data() + at, m, difference.data() + at, n));
  });
  codec_->encode(difference, {}, out);
  if (!reference.empty()) codec_->decode_add(out, 1.0F, reference);
}

DifferenceCode::Kind DifferenceCode::take_difference(const float* x, float* reference,
                                                     float* difference, std::int64_t n) const {
  std::uint32_t of_values = 0, of_differences = kInfinity;
  for (std::int64_t i = 0; i < n; ++i)
    of_values = std::max(of_values, magnitude(x[i]));
  if (of_values >= kInfinity) {
    std::fill_n(difference, n, 0.0F);
    return Kind::kLost;
  }
  if (reference != nullptr) {
    of_differences = 0;
    for (std::int64_t i = 0; i < n; ++i)
      of_differences = std::max(of_differences, magnitude(x[i] - reference[i]));
  }
  if (of_differences < of_values) {
    for (std::int64_t i = 0; i < n; ++i)
      difference[i] = x[i] - reference[i];
    return Kind::kDifference;
  }
  std::copy_n(x, n, difference);
  if (reference != nullptr) std::fill_n(reference, n, 0.0F);
  return Kind::kValue;
}

bool DifferenceCode::decode(std::span<const std::byte> in, std::span<float> values) const {
  const std::byte* const kinds = in.data() + (bytes_ - blocks());
  std::atomic<bool> lost = false;
  for_blocks([&](std::int64_t b, std::int64_t at, std::int64_t n) {
    switch (static_cast<Kind>(kinds[b])) {
      case Kind::kDifference: return;
      case Kind::kValue: std::fill_n(values.data() + at, n, 0.0F); return;
      case Kind::kLost: lost = true; return;
    }
    throw Error(ErrorKind::kComm, fmt::format("block {} of {} between stages is of kind {}", b,
                                              blocks(), static_cast<int>(kinds[b])));
  });
  codec_->decode_add(in, 1.0F, values);
  return lost;
}

void DifferenceCode::mark_lost(std::span<const std::byte> in, std::span<float> values) const {
  const std::byte* const kinds = in.data() + (bytes_ - blocks());
  for_blocks([&](std::int64_t b, std::int64_t at, std::int64_t n) {
    if (static_cast<Kind>(kinds[b]) == Kind::kLost)
      std::fill_n(values.data() + at, n, std::numeric_limits<float>::quiet_NaN());
  });
}

}  // namespace gradwire
