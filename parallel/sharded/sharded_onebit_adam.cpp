#include "parallel/sharded/sharded_onebit_adam.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/onebit_adam_rule.h"
#include "optim/onebit_kernels.h"

namespace gradwire {
namespace {

// Of m / sqrt(v), whatever the gradients, while v moves (Cauchy-Schwarz over both sums); infinite
// where there is no such bound.
float largest_update(const AdamWConfig& c) {
  const double room = (1.0 - c.beta2) * (1.0 - c.beta1 * c.beta1 / c.beta2);
  return c.beta2 > 0.0 && room > 0.0 ? static_cast<float>((1.0 - c.beta1) / std::sqrt(room))
                                     : std::numeric_limits<float>::infinity();
}

class ShardedOnebitAdam final : public OnebitAdam {
 public:
  ShardedOnebitAdam(Context& cx, Shard& shard, const OnebitAdamConfig& config)
      : OnebitAdam(cx, shard.slices(), config), shard_(shard), bound_(largest_update(config.adam)) {
    on_device(
        cx.stream.device, [](Device) {}, [](auto) { no_cuda_kernel("sharded 1-bit Adam"); });
    Context optim = cx.in(Segment::kOptim);
    for (const FlatBucket& b : shard.whole())
      live_.push_back(Tensor::zeros(optim, {b.numel() / 8}, DType::kU8));
  }

  void apply(Context& cx, const StepInfo& step) override {
    std::vector<std::size_t> updated;  // by their owners
    for (std::size_t b = 0; b < buckets().size(); ++b)
      if (!is_frozen(b)) updated.push_back(b);
    OnebitAdam::apply(cx, step);
    for (const std::size_t b : updated)
      shard_.gather(cx, b);
    shard_.wait(cx);
  }

  void visit_state(StateVisitor& visitor) override {
    shard_.visit_pieces(visitor, [this](StateVisitor& v) { OnebitAdam::visit_state(v); });
  }

 protected:
  Exchange frozen_exchange(Context& cx, std::size_t bucket, const StepInfo& step,
                           Age age) override {
    gather_live(cx, bucket);
    const auto beta = static_cast<float>(adam().beta1);
    const FrozenMath math = frozen_math(step, age, 0.0);
    return {.value = shard_.whole()[bucket].flat,
            .weight = (1.0F - beta) * static_cast<float>(step.grad_scale),
            .live = live_[bucket],
            .fresh = just_frozen(),
            .answer = [this, bucket, beta, math](Context&, const Tensor& mean, std::int64_t begin) {
              answer(bucket, {beta, math.inv_sqrt_bc2, math.eps, bound_}, mean, begin);
            }};
  }

  void frozen_apply(Context&, std::size_t bucket, const StepInfo& step, Age age) override {
    const FlatBucket& whole = shard_.whole()[bucket];
    for (std::size_t i = 0; i < whole.params.size(); ++i) {
      Parameter& p = *whole.params[i];
      const bool decays = slot(buckets()[bucket], i).decays;
      const FrozenMath math = frozen_math(step, age, decays ? adam().weight_decay : 0.0);
      const FollowArrays arrays{p.value.data<float>(), whole.flat.data<float>() + whole.begins[i],
                                live_[bucket].data<std::uint8_t>() + whole.begins[i] / 8,
                                p.value.numel()};
      parallel_for((arrays.n + 7) / 8, kUpdateGrain / 8, [&](std::int64_t from, std::int64_t to) {
        onebit_kernels().follow(math, arrays, from, to);
      });
      ++p.version;
    }
  }

 private:
  FrozenMath frozen_math(const StepInfo& step, Age age, double weight_decay) const {
    const AdamWMath full = math_of(step, age, weight_decay);
    return {full.keep, full.step_size, full.inv_sqrt_bc2, full.eps};
  }

  void answer(std::size_t bucket, const PreconditionMath& math, const Tensor& mean,
              std::int64_t begin) {
    Bucket& b = buckets()[bucket];
    check(begin == shard_.slice_begin(bucket) && mean.numel() == b.layout.numel(),
          ErrorKind::kInternal, "sharded onebit_adam: a chunk is not this rank's slice");
    const PreconditionArrays arrays{mean.data<float>(), b.m.data<float>(), b.v.data<float>()};
    parallel_for(mean.numel(), kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
      onebit_kernels().precondition(math, arrays, from, to);
    });
  }

  // v stands still from here on, so that once is enough.
  void gather_live(Context& cx, std::size_t bucket) {
    Bucket& b = buckets()[bucket];
    if (b.live_is_made) return;
    shard_.comm(bucket)
        .all_gather(live_in(cx, b), live_[bucket], {cx.stream, Traffic::kGradient, 0})
        ->wait(cx.stream);
  }

  Shard& shard_;
  float bound_;               // of an update, before its bias correction
  std::vector<Tensor> live_;  // u8 [n/8], of whole buckets
};

}  // namespace

std::unique_ptr<Optimizer> make_sharded_onebit_adam(Context& cx, Shard& shard,
                                                    OnebitAdamConfig config) {
  return std::make_unique<ShardedOnebitAdam>(cx, shard, config);
}

}  // namespace gradwire
