#include "comm/codec/sparse_codec.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "comm/codec/block_kernels.h"
#include "comm/codec/codec_input.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {

namespace {

void zero_dead(std::span<const std::byte> live, std::int64_t begin, std::int64_t count, float* c) {
  for (std::int64_t j = 0; j < count; ++j) {
    if (!bit_of(live, static_cast<std::size_t>(begin + j))) c[j] = 0.0F;
  }
}

}  // namespace

SparseWriter::SparseWriter(const DecodeTarget& target) : target_(target) {
  if (target.add) return;
  for (std::size_t i = 0; i < target.to.size(); ++i)
    if (target.live.empty() || is_live(i)) target.to[i] = 0.0F;
}

SparseCodec::SparseCodec(double ratio) : ratio_(ratio) {
  if (!(ratio > 0.0 && ratio <= 1.0)) {
    throw Error(ErrorKind::kConfig, fmt::format("ratio must be above 0, at most 1, got {}", ratio));
  }
}

double SparseCodec::delta_hint(std::int64_t n) const {
  return n == 0 ? 1.0 : static_cast<double>(count_of(n)) / static_cast<double>(n);
}

std::int64_t SparseCodec::count_of(std::int64_t n) const {
  return std::clamp<std::int64_t>(std::llround(ratio_ * static_cast<double>(n)), n > 0, n);
}

std::size_t SparseCodec::do_encode(const CodecInput& in, std::uint64_t stream,
                                   std::span<std::byte> out) const {
  if (in.residual.empty() || !in.known_finite) require_finite(name(), in);
  if (in.residual.empty()) return encode_values(in.x, in.live, stream, out);

  // The residual takes the place of c, block by block, so that no NaN gets there.
  constexpr std::int64_t kGrain = 16 * kMaxBlock;
  std::atomic<bool> finite = true;
  const auto n = static_cast<std::int64_t>(in.x.size());
  parallel_for(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float c[kMaxBlock];
    for (std::int64_t i = begin; i < end; i += kMaxBlock) {
      const std::int64_t count = std::min(kMaxBlock, end - i);
      if (input_kernels().load(source_at(in, i), count, c, nullptr)) {
        if (!in.live.empty()) zero_dead(in.live, i, count, c);
        std::memcpy(in.residual.data() + i, c, static_cast<std::size_t>(count) * sizeof(float));
      } else {
        finite = false;
      }
    }
  });
  if (!finite) throw_not_finite(name(), in);
  const std::size_t bytes = encode_values(in.residual, in.live, stream, out);
  clear_sent(out.first(bytes), in.live, in.residual);
  return bytes;
}

}  // namespace gradwire
