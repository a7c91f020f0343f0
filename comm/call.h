// One call on a communicator as a value: what every transport checks, describes and counts in the
// same way before it starts to move bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace gradwire {

enum class CallKind : std::uint8_t {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kAllToAll,
  kBroadcast,
  kExchange,
  kBarrier,
  kSplit,
};
const char* name_of(CallKind kind);

struct Call {
  CallKind kind = CallKind::kBarrier;
  std::byte* in = nullptr;   // what this rank contributes
  std::byte* out = nullptr;  // where its result goes; the same as `in` for in-place calls
  std::int64_t count = 0;    // elements of `in`
  DType dtype = DType::kU8;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  std::vector<P2p> group;      // of an exchange
  std::vector<Tensor> keep;    // what the pointers point into
  std::uint64_t sequence = 0;  // among the calls of its communicator; exchanges count apart
  std::size_t element_bytes() const { return size_of(dtype); }
};

// "all-reduce #12 (4096 bytes of f32, sum)"
std::string describe(const Call& call);
// Whether two ranks' calls are the same collective.
bool matches(const Call& a, const Call& b);
// Where the part of rank r begins when n elements are cut into `ranks` nearly equal parts.
constexpr std::int64_t part_begin(std::int64_t n, int ranks, int r) {
  return n / ranks * r + (r < n % ranks ? r : n % ranks);
}

}  // namespace gradwire
