// A data-parallel job without a model: parameters of odd sizes, made-up gradients, and an optimizer
// with its state whole or sharded, driven as the training loop drives it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "core/rng.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "optim/sgd.h"
#include "parallel/sharded/shard.h"
#include "parallel/sharded/sharded_onebit_adam.h"
#include "parallel/sharded/sharded_optimizer.h"
#include "train/checkpoint/checkpoint.h"
#include "train/update.h"

namespace gradwire::test {

struct JobConfig {
  std::string rule = "adamw";  // adamw, sgd, nesterov, onebit_adam
  bool sharded = false;
  double clip_norm = 0.0;
  int accumulation = 1;
  std::int64_t bucket_bytes = 1024;
  std::vector<std::string> uncompressed{};
  std::int64_t freeze_step = -1;
  double thaw_ratio = 2.0;
  std::string method{};  // of compressed gradients; none: as they are
  std::string codec = "sign";
  double weight_decay = 0.1;
};

// Gradient of element i of parameter p on a rank, in micro-batch `micro` of a step.
struct At {
  int rank, step, micro;
  std::size_t p;
  std::int64_t i;
};
using Gradient = std::function<double(const At&)>;

// Noise around a slope; element 3 of every parameter never gets one.
inline double noisy(const At& at) {
  if (at.i == 3) return 0.0;
  const auto seed = static_cast<std::uint64_t>(((at.step * 8 + at.rank) * 4 + at.micro) * 8 +
                                               static_cast<int>(at.p));
  return to_uniform(random_word(derive_seed(7, seed), static_cast<std::uint64_t>(at.i))) - 0.4;
}

class Job {
 public:
  static constexpr std::int64_t kSizes[] = {37, 5, 130, 1003};
  static constexpr const char* kNames[] = {"a", "b.bias", "c", "d"};
  static constexpr std::int64_t kElements = 37 + 5 + 130 + 1003;

  Job(Context& cx, Communicator& comm, const JobConfig& config)
      : cx_(cx), config_(config), params_(make_params(cx)) {
    ranks_.emplace(cx, comm, config.sharded ? make_scatter_reducer(comm) : make_dense_reducer(comm),
                   params(), DataParallelOptions{config.bucket_bytes, config.uncompressed});
    if (config.sharded) shard_.emplace(cx, comm, ranks_->buckets().all());
    optimizer_ = make_optimizer();
    if (is_onebit() || !config.method.empty()) {
      CompressionConfig compression;
      compression.method = feedback_named(config.method.empty() ? "ef" : config.method);
      compression.codec.name = config.codec;
      ranks_->compress_with(
          make_compressed_reducer(cx, comm, ranks_->buckets().all(), compression));
    }
    const std::int64_t dense_steps = is_onebit() ? -1 : 2;
    update_.emplace(UpdateOptions{config.clip_norm, dense_steps}, *optimizer_, *ranks_);
  }

  // The norm of the mean gradient; a step whose norm is not finite is skipped.
  double step(int step, const Gradient& gradient = noisy) {
    update_->begin(step, false);
    for (Parameter* p : params())
      clear_grad(*p);
    for (int micro = 0; micro < config_.accumulation; ++micro)
      add_gradients(step, micro, gradient);
    update_->finish_gradients(cx_);
    const double norm = update_->norm(cx_);
    if (std::isfinite(norm)) update_->apply(cx_, 0.01);
    return norm;
  }

  std::vector<float> values() const {
    std::vector<float> all;
    for (const auto& p : params_) {
      const std::vector<float> one = p->value.to_host<float>(cx_);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::vector<Parameter*> params() const {
    std::vector<Parameter*> list;
    for (const auto& p : params_)
      list.push_back(p.get());
    return list;
  }
  CheckpointState state() { return {params(), {optimizer_.get(), &*ranks_}}; }
  Optimizer& optimizer() { return *optimizer_; }
  DataParallel& ranks() { return *ranks_; }

 private:
  using Params = std::vector<std::unique_ptr<Parameter>>;
  static Params make_params(Context& cx) {
    Params params;
    for (std::size_t i = 0; i < std::size(kSizes); ++i) {
      Parameter& p = *params.emplace_back(std::make_unique<Parameter>());
      p.name = kNames[i];
      Context memory = cx.in(Segment::kParams);
      p.value = Tensor::empty(memory, {kSizes[i]}, DType::kF32);
      fill_normal(cx, p.value, Rng{17, 2000 * i}, 1.0);
    }
    return params;
  }
  bool is_onebit() const { return config_.rule == "onebit_adam"; }
  AdamWConfig adam() const {
    return {.beta2 = 0.95, .weight_decay = config_.weight_decay, .no_decay = {"*.bias"}};
  }
  std::unique_ptr<Optimizer> make_rule(std::span<Parameter* const> params) {
    if (config_.rule == "adamw") return make_adamw(cx_, params, adam());
    return make_sgd(cx_, params,
                    {.momentum = 0.9,
                     .nesterov = config_.rule == "nesterov",
                     .weight_decay = 0.01,
                     .no_decay = {"*.bias"}});
  }
  std::unique_ptr<Optimizer> make_optimizer() {
    if (is_onebit()) {
      const OnebitAdamConfig config{
          .adam = adam(),
          .freeze = {.freeze_step = config_.freeze_step, .thaw_ratio = config_.thaw_ratio},
          .dense = config_.uncompressed};
      return config_.sharded ? make_sharded_onebit_adam(cx_, *shard_, config)
                             : make_onebit_adam(cx_, ranks_->buckets().all(), config);
    }
    if (!config_.sharded) return make_rule(params());
    return make_sharded(*shard_, [&](auto pieces) { return make_rule(pieces); });
  }
  void add_gradients(int step, int micro, const Gradient& gradient) {
    for (std::size_t p = 0; p < params_.size(); ++p) {
      std::vector<float> grad;
      for (std::int64_t i = 0; i < kSizes[p]; ++i) {
        const double g = gradient({ranks_->comm().rank(), step, micro, p, i});
        grad.push_back(static_cast<float>(g / config_.accumulation));
      }
      accumulate_grad(cx_, *params_[p], Tensor::from(cx_, {kSizes[p]}, grad));
    }
  }

  Context& cx_;
  JobConfig config_;
  Params params_;
  std::optional<DataParallel> ranks_;
  std::optional<Shard> shard_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<Update> update_;
};

}  // namespace gradwire::test
