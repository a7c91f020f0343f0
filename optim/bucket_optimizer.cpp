#include "optim/bucket_optimizer.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/glob.h"
#include "core/parallel_for.h"
#include "optim/adamw_kernels.h"
#include "optim/onebit_kernels.h"

namespace gradwire {
namespace {

void check_config(std::string_view rule, const AdamWConfig& c) {
  const auto is_decay_rate = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  if (!is_decay_rate(c.beta1) || !is_decay_rate(c.beta2) || !(c.eps > 0.0) ||
      !(c.weight_decay >= 0.0)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: needs betas in [0, 1), eps > 0 and weight_decay >= 0, got beta1 "
                            "{}, beta2 {}, eps {}, weight_decay {}",
                            rule, c.beta1, c.beta2, c.eps, c.weight_decay));
  }
}

// From element `from` of parameter i on, whose momentum begins at m.
FrozenArrays frozen_arrays(const FlatBucket& layout, const float* m, const Tensor& v, std::size_t i,
                           std::int64_t from) {
  return {layout.params[i]->value.data<float>() + from, m,
          v.data<float>() + layout.begins[i] + from};
}

std::vector<Parameter*> params_of(std::span<const FlatBucket> buckets) {
  std::vector<Parameter*> params;
  for (const FlatBucket& b : buckets)
    params.insert(params.end(), b.params.begin(), b.params.end());
  return params;
}

}  // namespace

std::string few_names(std::span<const std::string> names) {
  constexpr std::size_t kMostNames = 3;
  const std::size_t shown = std::min(names.size(), kMostNames);
  const std::string text = fmt::format("'{}'", fmt::join(names.first(shown), "', '"));
  return shown == names.size() ? text : fmt::format("{} or {} others", text, names.size() - shown);
}

float floor_of_squares(std::span<const float> v) {
  double sum = 0.0, count = 0.0;
  for (const float x : v) {
    sum += static_cast<double>(x);
    count += x != 0.0F ? 1.0 : 0.0;
  }
  return count > 0.0 ? kLeastPartOfSquare * static_cast<float>(sum / count) : 0.0F;
}

std::vector<bool> dense_buckets(std::span<const FlatBucket> buckets,
                                std::span<const std::string> dense) {
  std::vector<bool> result;
  for (const FlatBucket& b : buckets) {
    const auto is_dense = [&](const Parameter* p) { return matches_any(p->name, dense); };
    const auto count = std::count_if(b.params.begin(), b.params.end(), is_dense);
    if (count != 0 && count != std::ssize(b.params)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("buckets: the one of {} holds {} parameters to compress and {} not "
                              "to: cut them apart",
                              b.params.front()->name, std::ssize(b.params) - count, count));
    }
    result.push_back(count != 0);
  }
  return result;
}

BucketOptimizer::BucketOptimizer(Context& cx, std::string_view rule,
                                 std::span<const FlatBucket> buckets, AdamWConfig adam,
                                 std::span<const std::string> dense)
    : GradientOptimizer(rule, params_of(buckets), adam.no_decay, adam.conditional),
      adam_(std::move(adam)),
      left_out_(slots().size(), 0) {
  check_config(rule, adam_);
  const std::vector<bool> is_dense = dense_buckets(buckets, dense);
  Context optim = cx.in(Segment::kOptim);
  std::size_t first_slot = 0;
  for (const FlatBucket& layout : buckets) {
    Bucket& b = buckets_.emplace_back();
    b.layout = layout;
    b.dense = is_dense[buckets_.size() - 1];
    b.m = Tensor::zeros(optim, {layout.numel()}, DType::kF32);
    b.v = Tensor::zeros(optim, {layout.numel()}, DType::kF32);
    b.live = Tensor::zeros(optim, {(layout.numel() + 7) / 8}, DType::kU8);
    b.awake.assign(layout.params.size(), false);
    b.first_slot = first_slot;
    first_slot += layout.params.size();
  }
  if (first_slot != slots().size()) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: a bucket holds a frozen parameter", rule));
  }
  for (const Bucket& b : buckets_) {
    for (std::size_t i = 0; i < b.layout.params.size() && !b.dense; ++i) {
      if (!slot(b, i).conditional) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: '{}' may be left out of a step, and so cannot be compressed",
                              rule, b.layout.params[i]->name));
    }
  }
}

AdamWMath BucketOptimizer::math_of(const StepInfo& step, Age age, double weight_decay) const {
  const auto f = [](double x) { return static_cast<float>(x); };
  const auto correction = [](double beta, std::int64_t updates) {
    return 1.0 - std::pow(beta, static_cast<double>(updates));
  };
  return {.beta1 = f(adam_.beta1),
          .one_minus_beta1 = f(1.0 - adam_.beta1),
          .beta2 = f(adam_.beta2),
          .one_minus_beta2 = f(1.0 - adam_.beta2),
          .keep = f(1.0 - step.lr * weight_decay),
          .step_size = f(step.lr / correction(adam_.beta1, age.m)),
          .inv_sqrt_bc2 = f(1.0 / std::sqrt(correction(adam_.beta2, age.v))),
          .eps = f(adam_.eps),
          .grad_scale = f(step.grad_scale)};
}

void BucketOptimizer::adamw_step(Context& cx, Bucket& b, const StepInfo& step, Age age) {
  b.live_is_made = false;
  for (std::size_t i = 0; i < b.layout.params.size(); ++i)
    adamw_step(cx, b, i, step, age);
}

void BucketOptimizer::adamw_step(Context& cx, Bucket& b, std::size_t i, const StepInfo& step,
                                 Age age) {
  std::int64_t& left_out = left_out_[b.first_slot + i];
  if (is_left_out(slot(b, i))) {
    ++left_out;
    return;
  }
  const Age own{age.m - left_out, age.v - left_out};
  const AdamWMath math = math_of(step, own, slot(b, i).decays ? adam_.weight_decay : 0.0);
  Parameter& p = *slot(b, i).param;
  const AdamWArrays arrays{p.value.data<float>(), gradient(p),
                           b.m.data<float>() + b.layout.begins[i],
                           b.v.data<float>() + b.layout.begins[i]};
  on_device(
      p.value.device(),
      [&](Device) {
        parallel_for(p.value.numel(), kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
          adamw_kernels().step(math, arrays, from, to);
        });
      },
      [&](auto) {
        const AdamWPart part{math, arrays, p.value.numel()};
        cuda::adamw_step(cx.stream, {&part, 1});
      });
  ++p.version;
}

BucketOptimizer::FrozenStep BucketOptimizer::frozen_math(const StepInfo& step, Age age) const {
  const auto with_decay = [&](double decay) -> FrozenMath {
    const AdamWMath full = math_of(step, age, decay);
    return {full.keep, full.step_size, full.inv_sqrt_bc2, full.eps, 0.0F};
  };
  return {with_decay(adam_.weight_decay), with_decay(0.0)};
}

void BucketOptimizer::frozen_step(const Bucket& b, const FrozenStep& step, std::int64_t begin,
                                  std::int64_t end, const float* m) {
  b.layout.for_each_part(begin, end, [&](std::size_t i, std::int64_t from, std::int64_t to) {
    if (b.awake[i]) return;
    const float* const own = m + (b.layout.begins[i] + from - begin);
    onebit_kernels().step(step.of(slot(b, i), b.floors[i]),
                          frozen_arrays(b.layout, own, b.v, i, from), 0, to - from);
  });
}

void BucketOptimizer::frozen_step(Context& cx, Bucket& b, const StepInfo& step, Age age) {
  const FrozenStep maths = frozen_math(step, age);
  const std::int64_t n = b.layout.numel();
  on_device(
      b.m.device(),
      [&](Device) {
        parallel_for(n, kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
          frozen_step(b, maths, from, to, b.m.data<float>() + from);
        });
      },
      [&](auto) {
        b.layout.for_each_part(0, n, [&](std::size_t i, std::int64_t, std::int64_t size) {
          if (b.awake[i]) return;
          cuda::frozen_step(
              cx.stream, maths.of(slot(b, i), b.floors[i]),
              frozen_arrays(b.layout, b.m.data<float>() + b.layout.begins[i], b.v, i, 0), size);
        });
      });
  for (Parameter* p : b.layout.params)
    ++p->version;
}

const Tensor& BucketOptimizer::live_in(Context& cx, Bucket& b) {
  if (b.live_is_made) return b.live;
  b.live_is_made = true;
  const LiveArrays arrays{static_cast<std::uint8_t*>(b.live.raw()), b.m.data<float>(),
                          b.v.data<float>(), b.layout.numel()};
  on_device(
      b.live.device(),
      [&](Device) {
        parallel_for(b.live.numel(), kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
          onebit_kernels().mark_live(arrays, from, to);
        });
      },
      [&](auto) { cuda::mark_live(cx.stream, arrays); });
  b.floors.clear();
  for (std::size_t i = 0; i < b.layout.params.size(); ++i)
    b.floors.push_back(floor_of_squares(b.layout.view_in(b.v, i).to_host<float>(cx)));
  return b.live;
}

std::string BucketOptimizer::waking_text(const FlatBucket& layout,
                                         std::span<const std::uint8_t> woken) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < layout.params.size(); ++i)
    if (woken[i] != 0) names.push_back(layout.params[i]->name);
  return "first gradients within " + few_names(names);
}

void BucketOptimizer::visit_moments(StateVisitor& visitor) {
  for (Bucket& b : buckets_) {
    b.live_is_made = false;  // the visitor may write v
    for (std::size_t i = 0; i < b.layout.params.size(); ++i) {
      const Parameter& p = *b.layout.params[i];
      Tensor m = b.layout.view_in(b.m, i);
      Tensor v = b.layout.view_in(b.v, i);
      visitor.tensor(state_name(p, "m"), m);
      visitor.tensor(state_name(p, "v"), v);
      if (slot(b, i).conditional) {
        visitor.number(state_name(p, "left_out"), left_out_[b.first_slot + i]);
      }
    }
  }
}

}  // namespace gradwire
