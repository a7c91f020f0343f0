#include "comm/codec/codec.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "comm/codec/block_kernels.h"
#include "comm/codec/codec_input.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace gradwire {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 16;

void check_size(const char* codec, const char* what, std::size_t found, std::size_t wanted) {
  if (found != 0 && found != wanted) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: {} has size {}, must be {}", codec, what, found, wanted));
  }
}

void check_input(const Codec& codec, const CodecInput& in, std::size_t out_bytes) {
  const char* name = codec.name();
  const std::size_t n = in.x.size();
  const std::size_t needed = codec.max_bytes(static_cast<std::int64_t>(n));
  check_size(name, "residual", in.residual.size(), n);
  check_size(name, "momentum", in.momentum.size(), n);
  check_size(name, "mask of live coordinates", in.live.size(), (n + 7) / 8);
  const bool coded = !in.momentum_code.empty();
  if ((!in.momentum.empty() || coded || in.weight != 1.0F) && in.residual.empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: momentum or weight without a residual", name));
  }
  if (coded && (!codec.has_blocks() || !in.momentum.empty() || in.momentum_code.size() < needed)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: {} bytes are not a payload to take a momentum from", name,
                            in.momentum_code.size()));
  }
  if (out_bytes < needed) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: {} elements may need {} bytes, the buffer has {}", name, n, needed,
                            out_bytes));
  }
}

std::string describe_element(const CodecInput& in, std::size_t i) {
  std::string text = fmt::format("{}", in.x[i]);
  if (!in.momentum.empty()) text += fmt::format(", momentum {}", in.momentum[i]);
  if (!in.residual.empty()) text += fmt::format(", residual {}", in.residual[i]);
  return text;
}

}  // namespace

std::size_t Codec::encode(const CodecInput& in, const CodecKey& key,
                          std::span<std::byte> out) const {
  check_input(*this, in, out.size());
  if (in.x.empty()) return 0;
  return do_encode(in, derive_seed(derive_seed(key.seed, key.step), key.tensor), out);
}

std::size_t Codec::encode(std::span<const float> x, const CodecKey& key,
                          std::span<std::byte> out) const {
  return encode(CodecInput{.x = x}, key, out);
}

std::size_t Codec::encode_with_feedback(std::span<const float> x, std::span<float> residual,
                                        const CodecKey& key, std::span<std::byte> out) const {
  return encode(CodecInput{.x = x, .residual = residual}, key, out);
}

void Codec::decode(std::span<const std::byte> in, std::span<float> to) const {
  decode(in, DecodeTarget{.to = to});
}

void Codec::decode_add(std::span<const std::byte> in, float weight, std::span<float> acc) const {
  decode(in, DecodeTarget{.to = acc, .add = true, .weight = weight});
}

void Codec::decode(std::span<const std::byte> in, const DecodeTarget& target) const {
  check_size(name(), "mask of live coordinates", target.live.size(), (target.to.size() + 7) / 8);
  if (target.to.empty()) return;
  do_decode(in, target);
  if (!target.done || has_blocks()) return;
  parallel_for(static_cast<std::int64_t>(target.to.size()), kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 target.done(begin, end, target.to.data() + begin);
               });
}

void check_length(const char* codec, std::int64_t n) {
  if (n < 0 || n > std::numeric_limits<std::int32_t>::max()) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: cannot encode {} elements at once", codec, n));
  }
}

void require_finite(const char* codec, const CodecInput& in) {
  const auto n = static_cast<std::int64_t>(in.x.size());
  std::atomic<bool> finite = true;
  parallel_for(n, kChunk, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) float c[kMaxBlock];
    for (std::int64_t i = begin; i < end && finite; i += kMaxBlock)
      if (!input_kernels().load(source_at(in, i), std::min(kMaxBlock, end - i), c, nullptr))
        finite = false;
  });
  if (!finite) throw_not_finite(codec, in);
}

void throw_not_finite(const char* codec, const CodecInput& in) {
  const auto n = static_cast<std::int64_t>(in.x.size());
  std::int64_t bad = 0;
  float c = 0.0F;
  while (bad + 1 < n && input_kernels().load(source_at(in, bad), 1, &c, nullptr))
    ++bad;
  throw Error(ErrorKind::kNumeric,
              fmt::format("{}: element {} of {} is not finite: {}", codec, bad, n,
                          describe_element(in, static_cast<std::size_t>(bad))));
}

}  // namespace gradwire
