#include "parallel/replica_check.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/common_error.h"
#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

std::uint64_t hash_of_value(Context& cx, const Parameter& p) {
  const Tensor& t = p.value;
  std::vector<std::byte> staged;
  const void* bytes = t.raw();
  on_device(
      t.device(), [](Device) {},
      [&](auto) {
        staged.resize(t.bytes());
        cuda::copy_to_host(cx.stream, staged.data(), t.raw(), t.bytes());
        bytes = staged.data();
      });
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(p.name)));
  hasher.add({static_cast<const std::byte*>(bytes), t.bytes()});
  return hasher.digest();
}

std::vector<std::uint64_t> hashes_of(Context& cx, std::span<Parameter* const> params) {
  std::vector<std::uint64_t> hashes(params.size());
  parallel_for(static_cast<std::int64_t>(params.size()), 1, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = b; i < e; ++i) {
      const auto at = static_cast<std::size_t>(i);
      hashes[at] = hash_of_value(cx, *params[at]);
    }
  });
  return hashes;
}

// One column per rank, in order.
std::vector<std::int64_t> gather(Context& cx, Communicator& comm,
                                 std::span<const std::uint64_t> mine) {
  Context host = cx.on_host().in(Segment::kComm);
  const std::vector<std::int64_t> words(mine.begin(), mine.end());
  const auto n = static_cast<std::int64_t>(words.size());
  const Tensor in = Tensor::from(host, {n}, words);
  const Tensor out = Tensor::empty(host, {n * comm.size()}, DType::kI64);
  comm.all_gather(in, out, host.stream)->wait(host.stream);
  return out.to_host<std::int64_t>(host);
}

// The value that most ranks hold; of several, the one of the lowest rank.
std::int64_t majority(std::span<const std::int64_t> values) {
  return *std::ranges::max_element(values, {}, [&](std::int64_t v) {
    return std::pair(std::ranges::count(values, v),
                     -(std::ranges::find(values, v) - values.begin()));
  });
}

}  // namespace

std::uint64_t hash_of(Context& cx, std::span<Parameter* const> params) {
  const std::vector<std::uint64_t> hashes = hashes_of(cx, params);
  return hash_of(std::as_bytes(std::span(hashes)));
}

void check_replicas(Context& cx, Communicator& comm, std::int64_t step,
                    std::span<Parameter* const> params) {
  const std::vector<std::uint64_t> hashes = hashes_of(cx, params);
  const std::uint64_t own = hash_of(std::as_bytes(std::span(hashes)));
  const std::vector<std::int64_t> all = gather(cx, comm, {&own, 1});
  const std::int64_t usual = majority(all);
  std::vector<int> odd;
  for (int r = 0; r < comm.size(); ++r) {
    if (all[static_cast<std::size_t>(r)] != usual) odd.push_back(r);
  }
  if (odd.empty()) return;

  const std::vector<std::int64_t> table = gather(cx, comm, hashes);
  const auto of_rank = [&](int r, std::size_t i) {
    return table[static_cast<std::size_t>(r) * params.size() + i];
  };
  const auto with_usual = static_cast<int>(std::ranges::find(all, usual) - all.begin());
  std::size_t first = 0;
  while (first + 1 < params.size() && of_rank(odd[0], first) == of_rank(with_usual, first))
    ++first;
  wait_before_common_error(comm);
  const bool tie = 2 * odd.size() >= all.size();
  throw Error(
      ErrorKind::kNumeric,
      fmt::format("replicas differ {}: rank{} {} hold{} other parameters than "
                  "rank {}{}, '{}' first of all",
                  step == 0 ? "before step 1" : fmt::format("after step {}", step),
                  odd.size() == 1 ? "" : "s", fmt::join(odd, ", "), odd.size() == 1 ? "s" : "",
                  with_usual, tie ? " (which of them is wrong cannot be told)" : " and most others",
                  params[first]->name));
}

}  // namespace gradwire
