// Counts every payload byte a rank hands to its transport, by kind of use, so that a step's traffic
// can be shown beside what uncompressed 32-bit exchange would have cost. Safe from several threads;
// the traffic of a step is the difference of two totals.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

namespace gradwire {

enum class Traffic : std::uint8_t { kGradient, kActivation, kParameter, kControl, kCount };
const char* name_of(Traffic kind);

struct WireCount {
  std::int64_t calls = 0;
  std::int64_t sent_bytes = 0;   // payload this rank put on the wire
  std::int64_t dense_bytes = 0;  // what the same exchange would have sent as dense f32
  std::int64_t messages = 0;     // that the payload travelled in

  WireCount& operator+=(const WireCount& other);
  friend WireCount operator-(const WireCount& a, const WireCount& b);
  friend bool operator==(const WireCount&, const WireCount&) = default;
};

// What a rank sends, about, for an all-reduce of n floats as they are.
constexpr std::int64_t dense_exchange_bytes(std::int64_t n, int ranks) {
  return 2 * (ranks - 1) * n * static_cast<std::int64_t>(sizeof(float)) / ranks;
}

class WireLedger {
 public:
  void add(Traffic kind, std::int64_t sent_bytes, std::int64_t dense_bytes, std::int64_t messages);
  WireCount total(Traffic kind) const;
  WireCount total() const;

 private:
  mutable std::mutex mutex_;
  std::array<WireCount, static_cast<std::size_t>(Traffic::kCount)> counts_{};
};

}  // namespace gradwire
