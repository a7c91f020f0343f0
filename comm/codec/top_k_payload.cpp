#include "comm/codec/top_k_payload.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire::top_k {
namespace {

std::int64_t checked_count(std::span<const std::byte> in, std::int64_t n) {
  if (in.size() < Layout(n, 0).total) {
    throw Error(ErrorKind::kComm,
                fmt::format("topk: a payload of {} elements has {} bytes or more, "
                            "got {}",
                            n, Layout(n, 0).total, in.size()));
  }
  const std::int64_t count = load<std::uint32_t>(in.data());
  const std::uint32_t format = load<std::uint32_t>(in.data(), 1);
  if (count > n || format != Layout(n, count).format || in.size() < Layout(n, count).total) {
    throw Error(ErrorKind::kComm,
                fmt::format("topk: {} bytes that claim {} values of {} elements in format {}",
                            in.size(), count, n, format));
  }
  return count;
}

}  // namespace

Reader::Reader(std::span<const std::byte> in, std::int64_t n)
    : in_(in), n_(n), layout_(n, checked_count(in, n)) {
  const std::int64_t count = load<std::uint32_t>(in.data());
  bool ordered = end_of(segments() - 1) == count;
  for (std::int64_t s = 0; s < segments(); ++s)
    ordered = ordered && begin_of(s) <= end_of(s);
  for (std::int64_t s = 0; ordered && s < segments(); ++s)
    ordered = valid(s);
  if (!ordered) {
    throw Error(ErrorKind::kComm,
                fmt::format("topk: the places of {} values in {} elements contradict each other",
                            count, n));
  }
}

bool Reader::valid(std::int64_t s) const {
  const std::int64_t length = length_of(s);
  if (layout_.format == kBitmap) {
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < (length + 7) / 8; ++i)
      kept += std::popcount(load<unsigned char>(bitmap_of(s), i));
    const int used = static_cast<int>(length % 8);
    const bool tail = used != 0 && load<unsigned char>(bitmap_of(s), length / 8) >> used != 0;
    return kept == end_of(s) - begin_of(s) && !tail;
  }
  std::int64_t next = 0;
  for (std::int64_t j = begin_of(s); j < end_of(s); ++j) {
    const std::int64_t i = load<std::uint16_t>(in_.data() + layout_.places, j);
    if (i < next || i >= length) return false;
    next = i + 1;
  }
  return true;
}

}  // namespace gradwire::top_k
