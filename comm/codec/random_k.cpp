#include "comm/codec/random_k.h"

#include <cstring>

#include <fmt/format.h>

#include "comm/codec/codec_input.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace gradwire {
namespace {

constexpr std::size_t kHeader = sizeof(std::uint64_t);
constexpr std::int64_t kGrain = std::int64_t{1} << 14;

// An index below n from 32 random bits.
std::int64_t below(std::uint32_t word, std::int64_t n) {
  return static_cast<std::int64_t>(
      (static_cast<std::uint64_t>(word) * static_cast<std::uint64_t>(n)) >> 32);
}

}  // namespace

std::size_t RandomKCodec::max_bytes(std::int64_t n) const {
  check_length(name(), n);
  return n == 0 ? 0 : kHeader + sizeof(float) * static_cast<std::size_t>(count_of(n));
}

template <class F>
void RandomKCodec::for_each_sent(std::uint64_t stream, std::int64_t n,
                                 std::span<const std::byte> live, const F& f) const {
  const std::int64_t k = count_of(n);
  const std::int64_t shift = below(random_word(stream, 0), n);
  const auto turned = [=](std::int64_t i) { return i + shift < n ? i + shift : i + shift - n; };
  const auto is_live = [=](std::int64_t i) {
    return bit_of(live, static_cast<std::size_t>(turned(i)));
  };
  parallel_for(k, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t low = begin * n / k;
    for (std::int64_t j = begin; j < end; ++j) {
      const std::int64_t first = low, last = (j + 1) * n / k;
      low = last;
      const std::uint32_t word = random_word(stream, static_cast<std::uint64_t>(j) + 1);
      if (live.empty()) {
        f(j, turned(first + below(word, last - first)));
        continue;
      }
      std::int64_t candidates = 0;
      for (std::int64_t i = first; i < last; ++i)
        candidates += is_live(i) ? 1 : 0;
      if (candidates == 0) continue;
      std::int64_t before = below(word, candidates), i = first;
      while (!is_live(i) || before-- > 0)
        ++i;
      f(j, turned(i));
    }
  });
}

std::size_t RandomKCodec::encode_values(std::span<const float> c, std::span<const std::byte> live,
                                        std::uint64_t stream, std::span<std::byte> out) const {
  const auto n = static_cast<std::int64_t>(c.size());
  std::memcpy(out.data(), &stream, sizeof stream);
  std::byte* const values = out.data() + kHeader;
  if (!live.empty()) std::memset(values, 0, max_bytes(n) - kHeader);
  for_each_sent(stream, n, live, [&](std::int64_t j, std::int64_t i) {
    std::memcpy(values + sizeof(float) * static_cast<std::size_t>(j),
                &c[static_cast<std::size_t>(i)], sizeof(float));
  });
  return max_bytes(n);
}

void RandomKCodec::clear_sent(std::span<const std::byte> payload, std::span<const std::byte> live,
                              std::span<float> c) const {
  std::uint64_t stream = 0;
  std::memcpy(&stream, payload.data(), sizeof stream);
  for_each_sent(stream, static_cast<std::int64_t>(c.size()), live,
                [&](std::int64_t, std::int64_t i) { c[static_cast<std::size_t>(i)] = 0.0F; });
}

void RandomKCodec::do_decode(std::span<const std::byte> in, const DecodeTarget& target) const {
  const auto n = static_cast<std::int64_t>(target.to.size());
  if (in.size() < max_bytes(n)) {
    throw Error(ErrorKind::kComm,
                fmt::format("randk: a payload of {} elements has {} bytes, got {}", n, max_bytes(n),
                            in.size()));
  }
  std::uint64_t stream = 0;
  std::memcpy(&stream, in.data(), sizeof stream);
  const SparseWriter writer(target);
  for_each_sent(stream, n, target.live, [&](std::int64_t j, std::int64_t i) {
    float value = 0.0F;
    std::memcpy(&value, in.data() + kHeader + sizeof(float) * static_cast<std::size_t>(j),
                sizeof value);
    writer.put(i, value);
  });
}

}  // namespace gradwire
