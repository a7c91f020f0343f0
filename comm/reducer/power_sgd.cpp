#include "comm/reducer/power_sgd.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "comm/plan.h"
#include "comm/reducer/low_rank_bucket.h"
#include "core/dispatch.h"
#include "core/reducer_methods.h"

namespace gradwire {
namespace {

class PowerSgdReducer final : public Reducer {
 public:
  PowerSgdReducer(Context& cx, Communicator& comm, std::span<const FlatBucket> layout,
                  const PowerSgdConfig& config)
      : layout_(layout.begin(), layout.end()), shared_{config, comm, {}} {
    std::int64_t room = 0;
    for (const FlatBucket& b : layout_) {
      buckets_.emplace_back();
      if (!b.uncompressed) room = std::max(room, buckets_.back().emplace(cx, b, shared_).room());
    }
    Context buffers = cx.in(Segment::kComm);
    shared_.room = Tensor::zeros(buffers, {room}, DType::kF64);
    submitted_.reserve(layout_.size());
  }

  // All buckets are sent before waiting on the first, and the aggregates likewise.
  void finish(Context& cx) override {
    for (const std::size_t b : submitted_)
      buckets_[b]->serve(cx);
    for (const std::size_t b : submitted_)
      buckets_[b]->receive(cx, steps_);
    submitted_.clear();
    ++steps_;
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    const auto same = std::ranges::find_if(
        layout_, [&](const FlatBucket& b) { return b.params == bucket.params; });
    check(same != layout_.end(), ErrorKind::kUsage, "powersgd: not one of its buckets");
    const auto& own = buckets_[static_cast<std::size_t>(same - layout_.begin())];
    check(own.has_value(), ErrorKind::kUsage, "powersgd: an uncompressed bucket");
    const LowRankBucket& b = *own;
    return all_reduce_bytes(b.p_size(), ranks) + all_reduce_bytes(b.q_size(), ranks);
  }

  void visit_state(StateVisitor& visitor) override {
    visitor.number("powersgd/steps", steps_);
    for (std::optional<LowRankBucket>& b : buckets_)
      if (b) b->visit_state(visitor);
  }

  ExchangeKinds supports() const override { return supported_by(name()); }
  const char* name() const override { return "powersgd"; }

 private:
  LowRankBucket& at(std::size_t bucket) {
    check(!layout_.at(bucket).uncompressed, ErrorKind::kUsage, "powersgd: an uncompressed bucket");
    return *buckets_[bucket];
  }
  void do_submit(Context& cx, std::size_t bucket, const Exchange& e) override {
    at(bucket).send(cx, e);
    submitted_.push_back(bucket);
  }
  void do_reset_residuals(Context& cx, std::size_t bucket) override {
    at(bucket).reset_residuals(cx);
  }

  std::vector<FlatBucket> layout_;
  LowRankShared shared_;
  std::deque<std::optional<LowRankBucket>> buckets_;  // which hold on to layout_ and shared_
  std::vector<std::size_t> submitted_;
  std::int64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Reducer> make_power_sgd_reducer(Context& cx, Communicator& comm,
                                                std::span<const FlatBucket> layout,
                                                const PowerSgdConfig& config) {
  if (config.rank < 1) {
    throw Error(ErrorKind::kConfig, fmt::format("powersgd: a rank of {}", config.rank));
  }
  on_device(
      cx.stream.device, [](Device) {}, [](auto) { no_cuda_kernel("powersgd"); });
  return std::make_unique<PowerSgdReducer>(cx, comm, layout, config);
}

}  // namespace gradwire
