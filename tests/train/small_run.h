// Data-parallel training of a classifier of two layers on made-up data, with every rule and every
// reducer, driven as the training loop drives them. All numbers of ranks see the same batches.
#pragma once

#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "comm/reducer/power_sgd.h"
#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"
#include "core/rng.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "optim/onebit_lamb.h"
#include "optim/schedule.h"
#include "optim/sgd.h"
#include "optim/zero_one_adam.h"
#include "parallel/agreement.h"
#include "parallel/sharded/shard.h"
#include "parallel/sharded/sharded_onebit_adam.h"
#include "train/checkpoint/checkpoint.h"
#include "train/update.h"

namespace gradwire::test {

struct SmallConfig {
  std::string name;           // of the test
  std::string rule = "sgd";   // sgd, onebit_adam, sharded_onebit_adam, onebit_lamb, zero_one_adam
  std::string method = "ef";  // of feedback, or powersgd
  std::string codec = "sign";
  std::int64_t frozen_at = 100;  // updates with dense gradients before anything is compressed
  std::int64_t steps = 1000;
  std::int64_t samples = 2400, batch = 24;  // over all ranks
};

class SmallRun {
 public:
  static constexpr std::int64_t kInputs = 16, kHidden = 24, kClasses = 10;

  SmallRun(Context& cx, Communicator& comm, const SmallConfig& config)
      : cx_(cx), comm_(comm), config_(config) {
    add("w1", {kHidden, kInputs}, 0.25);
    add("b1", {kHidden}, 0.0);
    add("w2", {kClasses, kHidden}, 0.2);
    add("b2", {kClasses}, 0.0);
    ranks_.emplace(cx, comm, sharded() ? make_scatter_reducer(comm) : make_dense_reducer(comm),
                   params(), DataParallelOptions{1024});
    if (sharded()) shard_.emplace(cx, comm, ranks_->buckets().all());
    optimizer_ = make_rule();
    ranks_->compress_with(make_reducer());
    update_.emplace(UpdateOptions{1.0, config.rule == "sgd" ? config.frozen_at : -1}, *optimizer_,
                    *ranks_);
    make_samples();
  }

  // A step of the schedule; if `broken`, the last rank's gradient is not finite and all skip it.
  // Whether it was one.
  bool step(int step, bool broken = false) {
    for (Parameter* p : params())
      clear_grad(*p);
    update_->begin(step, step == config_.steps);
    Tape tape;
    update_->overlap(cx_, tape, 1);
    const std::int64_t share = config_.batch / comm_.size();
    const std::int64_t begin = (step * config_.batch) % config_.samples + comm_.rank() * share;
    const Var loss = loss_of(tape, begin, begin + share);
    tape.backward(cx_, loss, Tensor::from(cx_, {}, std::vector<float>{1.0F}));
    if (broken && comm_.rank() == comm_.size() - 1)
      params_[0].grad.data<float>()[5] = std::numeric_limits<float>::infinity();
    update_->finish_gradients(cx_);
    const bool finite = std::isfinite(update_->norm(cx_));
    if (finite) update_->apply(cx_, lr_at(schedule(), step));
    return finite;
  }
  // Of all samples.
  double loss() {
    Tape tape(false);
    const Var all = loss_of(tape, 0, config_.samples);
    return static_cast<double>(tape.value(all).to_host<float>(cx_)[0]);
  }

  std::vector<Parameter*> params() {
    std::vector<Parameter*> all;
    for (Parameter& p : params_)
      all.push_back(&p);
    return all;
  }
  DataParallel& ranks() { return *ranks_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Update& update() const { return *update_; }
  CheckpointState state() { return {params(), {optimizer_.get(), &*ranks_}}; }

 private:
  bool sharded() const { return config_.rule == "sharded_onebit_adam"; }
  void add(const char* name, const Shape& shape, double deviation) {
    Parameter& p = params_.emplace_back();
    p.name = name;
    Context memory = cx_.in(Segment::kParams);
    p.value = Tensor::zeros(memory, shape, DType::kF32);
    fill_normal(cx_, p.value, Rng{3, 10000 * params_.size()}, deviation);
  }
  std::unique_ptr<Optimizer> make_rule() {
    const AdamWConfig adam{.beta2 = 0.95, .weight_decay = 0.01};
    const FreezeConfig freeze{.freeze_step = config_.frozen_at, .thaw_ratio = 0.0};
    const auto buckets = ranks_->buckets().all();
    if (config_.rule == "sgd") return make_sgd(cx_, params(), {.momentum = 0.9});
    if (sharded()) return make_sharded_onebit_adam(cx_, *shard_, {adam, freeze});
    if (config_.rule == "onebit_lamb") return make_onebit_lamb(cx_, buckets, {adam, freeze});
    if (config_.rule == "onebit_adam") return make_onebit_adam(cx_, buckets, {adam, freeze});
    return make_zero_one_adam(cx_, buckets,
                              {.adam = adam,
                               .var_freeze_step = config_.steps / 2,
                               .local_step_start = config_.steps / 2,
                               .local_step_scaler = 100,
                               .local_step_clipper = 4});
  }
  std::unique_ptr<Reducer> make_reducer() {
    const auto layout = ranks_->buckets().all();
    if (config_.method == "powersgd")
      return make_power_sgd_reducer(cx_, comm_, layout, {.rank = 2});
    CompressionConfig compression;
    compression.method = feedback_named(config_.method);
    compression.codec = {.name = config_.codec, .ratio = 0.1};
    if (compression.method == Feedback::kEcontrol) compression.eta = 0.1;
    return make_compressed_reducer(cx_, comm_, layout, compression);
  }
  ScheduleConfig schedule() const {
    return {.decay = Decay::kCosine,
            .peak_lr = config_.rule == "sgd"           ? 0.05
                       : config_.rule == "onebit_lamb" ? 0.02
                                                       : 0.01,
            .warmup_steps = 20,
            .total_steps = config_.steps,
            .final_ratio = 0.0};
  }
  // Classes are those of the largest of some random directions, and a few at random.
  void make_samples() {
    const auto normal = [](std::uint64_t seed, std::int64_t i) {
      double sum = 0.0;
      for (std::uint64_t k = 0; k < 12; ++k)
        sum += to_uniform(random_word(seed, static_cast<std::uint64_t>(i) * 12 + k));
      return sum - 6.0;
    };
    for (std::int64_t s = 0; s < config_.samples; ++s) {
      std::int32_t best = 0;
      double most = -1e9;
      for (std::int64_t j = 0; j < kInputs; ++j)
        inputs_.push_back(static_cast<float>(normal(11, s * kInputs + j)));
      for (std::int32_t c = 0; c < kClasses; ++c) {
        double dot = 2.0 * normal(13, s * kClasses + c);
        for (std::int64_t j = 0; j < kInputs; ++j)
          dot += normal(12, c * kInputs + j) *
                 static_cast<double>(inputs_[static_cast<std::size_t>(s * kInputs + j)]);
        if (dot > most) best = c;
        most = std::max(most, dot);
      }
      targets_.push_back(best);
    }
  }
  Var loss_of(Tape& tape, std::int64_t begin, std::int64_t end) {
    const std::vector<float> x(inputs_.begin() + begin * kInputs, inputs_.begin() + end * kInputs);
    const std::vector<std::int32_t> y(targets_.begin() + begin, targets_.begin() + end);
    const std::int64_t n = end - begin;
    const auto param = [&](std::size_t i) { return tape.param(params_[i]); };
    const Var in = tape.constant(Tensor::from(cx_, {n, kInputs}, x));
    const Var hidden = unary(cx_, tape, Unary::kTanh, linear(cx_, tape, in, param(0), param(1)));
    const Var logits = linear(cx_, tape, hidden, param(2), param(3));
    return cross_entropy(cx_, tape, logits, Tensor::from(cx_, {n}, y));
  }

  Context& cx_;
  Communicator& comm_;
  SmallConfig config_;
  std::deque<Parameter> params_;
  std::vector<float> inputs_;
  std::vector<std::int32_t> targets_;
  std::optional<DataParallel> ranks_;
  std::optional<Shard> shard_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<Update> update_;
};

// Every rule with every reducer that it can be given.
inline std::vector<SmallConfig> small_configs() {
  std::vector<SmallConfig> all;
  const auto add = [&](const std::string& rule, const std::string& method,
                       const std::string& codec) {
    // Estimators follow a gradient, and add up the noise of mini-batches many times over
    // (docs/compression.md): they get all samples in every step.
    const bool estimates = method.starts_with("ef21") || method == "econtrol";
    all.push_back({.name = rule + "_" + method + (codec.empty() ? "" : "_" + codec),
                   .rule = rule,
                   .method = method,
                   .codec = codec,
                   .samples = estimates ? 240 : 2400,
                   .batch = estimates ? 240 : 24});
  };
  const auto codecs = {"sign", "topk", "randk", "int8", "int4", "qsgd", "natural", "bf16"};
  for (const char* method : {"plain", "ef", "ef21", "ef21_sgdm", "econtrol"})
    for (const char* codec : codecs)
      add("sgd", method, codec);
  for (const char* codec : codecs) {
    add("onebit_adam", "ef", codec);
    add("sharded_onebit_adam", "ef", codec);
  }
  for (const char* rule : {"sgd", "onebit_adam", "onebit_lamb", "zero_one_adam"})
    add(rule, "powersgd", "");
  for (const char* rule : {"onebit_lamb", "zero_one_adam"})
    add(rule, "ef", "sign");
  return all;
}

}  // namespace gradwire::test
