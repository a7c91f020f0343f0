#include "parallel/sharded/sharded_onebit_adam.h"

#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/onebit_adam_rule.h"
#include "optim/onebit_kernels.h"

namespace gradwire {
namespace {

class ShardedOnebitAdam final : public OnebitAdam {
 public:
  ShardedOnebitAdam(Context& cx, Shard& shard, const OnebitAdamConfig& config)
      : OnebitAdam(cx, shard.slices(), config), shard_(shard) {
    on_device(
        cx.stream.device, [](Device) {}, [](auto) { no_cuda_kernel("sharded 1-bit Adam"); });
    Context optim = cx.in(Segment::kOptim);
    for (const FlatBucket& b : shard.whole()) {
      coarse_.push_back({.codes = Tensor::zeros(optim, {b.numel()}, DType::kU8),
                         .live = Tensor::zeros(optim, {b.numel() / 8}, DType::kU8)});
    }
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
  const FlatBucket& exchanged(std::size_t bucket) const override { return shard_.whole()[bucket]; }

  // Parts are of unequal lengths, which no gathering takes, but a sum with zeros does.
  void share_values(Context& cx, std::size_t bucket, std::size_t param) override {
    const Tensor& all = shard_.whole()[bucket].params[param]->value;
    const Parameter& own = *buckets()[bucket].layout.params[param];
    const Tensor part = Tensor::empty(cx, own.value.shape(), DType::kF32);
    copy(cx, part, own.value);
    fill(cx, all, 0.0);
    copy(cx, own.value, part);
    shard_.comm(bucket)
        .all_reduce(all, ReduceOp::kSum, {cx.stream, Traffic::kParameter, 0})
        ->wait(cx.stream);
  }

  Exchange frozen_exchange(Context& cx, std::size_t bucket, const StepInfo& step,
                           Age age) override {
    gather_coarse(cx, bucket);
    frozen_ = frozen_math(step, age);
    Exchange e{.what = RecalledMomentum{.gradient = shard_.whole()[bucket].flat,
                                        .weight = static_cast<float>(step.grad_scale),
                                        .beta = static_cast<float>(adam().beta1),
                                        .fill =
                                            [this, bucket](Context& on, const Tensor& momentum) {
                                              gather(on, bucket, buckets()[bucket].m, momentum);
                                            }},
               .live = coarse_[bucket].live,
               .reset_residuals = just_frozen(),
               .use = [this, bucket](std::int64_t begin, std::int64_t end, const float* m) {
                 follow(bucket, begin, end, m);
               }};
    add_awake(bucket, e);
    return e;
  }

  void frozen_apply(Context&, std::size_t bucket, const StepInfo&, Age) override {
    const FlatBucket& whole = shard_.whole()[bucket];
    keep_own(bucket, whole.flat);
    for (Parameter* p : whole.params)
      ++p->version;
  }

 private:
  // What all ranks know of a bucket's v.
  struct Coarse {
    CoarseSquare square{};
    Tensor codes;                 // u8 [n]
    Tensor live;                  // u8 [n/8], where they are not 0
    std::vector<float> floors{};  // by parameter, of v
  };

  // Updates elements of a bucket from their new momentum.
  void follow(std::size_t bucket, std::int64_t begin, std::int64_t end, const float* m) {
    const FlatBucket& whole = shard_.whole()[bucket];
    const Coarse& coarse = coarse_[bucket];
    whole.for_each_part(begin, end, [&](std::size_t i, std::int64_t from, std::int64_t to) {
      if (buckets()[bucket].awake[i]) return;
      const std::int64_t at = whole.begins[i] + from;
      const FollowArrays arrays{whole.params[i]->value.data<float>() + from, m + (at - begin),
                                coarse.codes.data<std::uint8_t>() + at};
      onebit_kernels().follow(frozen_.of(slot(buckets()[bucket], i), coarse.floors[i]),
                              coarse.square, arrays, 0, to - from);
    });
  }

  void gather(Context& cx, std::size_t bucket, const Tensor& slice, const Tensor& whole) {
    shard_.comm(bucket)
        .all_gather(slice, whole, {cx.stream, Traffic::kGradient, 0})
        ->wait(cx.stream);
  }

  // This rank's part of the new momentum.
  void keep_own(std::size_t bucket, const Tensor& momentum) {
    Bucket& b = buckets()[bucket];
    const float* const own = momentum.data<float>() + shard_.slice_begin(bucket);
    const auto* codes = coarse_[bucket].codes.data<std::uint8_t>() + shard_.slice_begin(bucket);
    for (std::int64_t i = 0; i < b.m.numel(); ++i)
      b.m.data<float>()[i] = codes[i] != 0 ? own[i] : 0.0F;
  }

  // v stands still from here on, so that once is enough.
  void gather_coarse(Context& cx, std::size_t bucket) {
    Bucket& b = buckets()[bucket];
    if (b.live_is_made) return;
    b.live_is_made = true;
    Coarse& coarse = coarse_[bucket];
    coarse.square.top = top_level(cx, bucket);
    const Tensor own = Tensor::empty(cx, {b.v.numel()}, DType::kU8);
    const CoarseArrays arrays{own.data<std::uint8_t>(), b.m.data<float>(), b.v.data<float>()};
    parallel_for(own.numel(), kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
      onebit_kernels().make_coarse(coarse.square, arrays, from, to);
    });
    gather(cx, bucket, own, coarse.codes);
    mark_live(coarse);
    make_floors(coarse, shard_.whole()[bucket]);
  }

  // From what all ranks know, so that they agree.
  static void make_floors(Coarse& coarse, const FlatBucket& whole) {
    coarse.floors.clear();
    for (std::size_t i = 0; i < whole.params.size(); ++i) {
      const auto* const codes = coarse.codes.data<std::uint8_t>() + whole.begins[i];
      std::vector<float> v(static_cast<std::size_t>(whole.params[i]->value.numel()));
      for (std::size_t j = 0; j < v.size(); ++j)
        v[j] = codes[j] != 0 ? coarse.square(codes[j]) : 0.0F;
      coarse.floors.push_back(floor_of_squares(v));
    }
  }

  std::int32_t top_level(Context& cx, std::size_t bucket) {
    const Tensor& v = buckets()[bucket].v;
    Tensor top = Tensor::zeros(cx, {1}, DType::kI32);
    *top.data<std::int32_t>() = onebit_kernels().top_level(v.data<float>(), 0, v.numel());
    shard_.comm(bucket)
        .all_reduce(top, ReduceOp::kMax, {cx.stream, Traffic::kGradient, 0})
        ->wait(cx.stream);
    return *top.data<std::int32_t>();
  }

  static void mark_live(const Coarse& coarse) {
    const auto* const codes = coarse.codes.data<std::uint8_t>();
    auto* const live = coarse.live.data<std::uint8_t>();
    for (std::int64_t i = 0; i < coarse.live.numel(); ++i) {
      unsigned bits = 0;
      for (unsigned j = 0; j < 8; ++j)
        bits |= (codes[8 * i + j] != 0 ? 1U : 0U) << j;
      live[i] = static_cast<std::uint8_t>(bits);
    }
  }

  Shard& shard_;
  std::vector<Coarse> coarse_;  // by bucket
  FrozenStep frozen_;           // of the exchange under way
};

}  // namespace

std::unique_ptr<Optimizer> make_sharded_onebit_adam(Context& cx, Shard& shard,
                                                    OnebitAdamConfig config) {
  return std::make_unique<ShardedOnebitAdam>(cx, shard, config);
}

}  // namespace gradwire
