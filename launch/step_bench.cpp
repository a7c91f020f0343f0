#include "launch/step_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/linear/linear.h"
#include "launch/exchange_probe.h"
#include "launch/language_model.h"
#include "launch/learner.h"
#include "parallel/agreement.h"
#include "parallel/pipeline/pipeline.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// 2 operations per weight and token forward, twice that backward; attention does two T x T products
// per head forward, half of each above the diagonal.
double flops_of_step(const DecoderConfig& c, double sequences, double context) {
  const auto d = [](std::int64_t n) { return static_cast<double>(n); };
  const double kv_width = d(c.width / c.heads * c.kv_heads);
  const double block =
      2.0 * d(c.width) * (d(c.width) + kv_width) + 3.0 * d(c.width) * d(c.ffn_width);
  const double weights = d(c.layers) * block + d(c.vocab) * d(c.width);
  const double attention = d(c.layers) * context * d(c.width);
  return 6.0 * sequences * context * (weights + attention);
}

Tensor random_ids(Context& cx, const Shape& shape, std::int64_t vocab, std::uint64_t seed) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>(random_word(seed, i) % static_cast<std::uint32_t>(vocab));
  return Tensor::from(cx, shape, ids);
}

// The recipe's model on the same random tokens in every micro-batch.
class RandomTokens final : public StageModel {
 public:
  RandomTokens(Context& cx, DecoderLm& model, const std::vector<UnitRange>& cut, const Shape& shape)
      : model_(model),
        cut_(cut),
        inputs_(random_ids(cx, shape, model.config().vocab, 1)),
        targets_(random_ids(cx, shape, model.config().vocab, 2)) {}

  std::vector<Var> forward(Context& cx, Tape& tape, int stage, int,
                           std::span<const Var> in) override {
    const UnitRange units = cut_[static_cast<std::size_t>(stage)];
    const Var out = model_.forward(cx, tape, units, inputs_, in.empty() ? Var{} : in.front());
    if (units.end < unit_count(model_.config())) return {out};
    return {cross_entropy(cx, tape, out, targets_)};
  }
  std::vector<TensorSpec> activations(int, int) const override {
    const DecoderConfig& config = model_.config();
    return {{{inputs_.dim(0), inputs_.dim(1), config.width}, config.compute}};
  }
  double weight(int) const override { return 1.0; }
  std::optional<double> total_weight(int micros) const override { return micros; }

 private:
  DecoderLm& model_;
  const std::vector<UnitRange>& cut_;
  Tensor inputs_, targets_;
};

double median_of(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

}  // namespace

StepTimes time_steps(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t warmup,
                     std::int64_t steps) {
  const Mesh mesh = make_mesh(comm, mesh_shape(recipe, comm.size()));
  const DecoderConfig config = decoder_config(recipe, recipe.data.vocab_size);
  const Stages stages = plan_stages(cx, comm, recipe, config);
  DecoderLm model(cx, config, stages.of_rank(mesh.here.pipeline));
  set_trainable(model, recipe.model.trainable, mesh.shape.pipeline > 1);
  Learner learner(cx, mesh, recipe, trainable_parameters_of(model), frozen_parameters_of(model));
  const ExchangeForecast exchange = probe_exchange(cx, comm, recipe, learner.ranks()).forecast;
  Pipeline pipeline(*mesh.pipeline, stages.schedule,
                    make_boundary(cx, *mesh.pipeline, recipe, stages.schedule));

  const std::int64_t rows = recipe.batch.micro;
  const int micros = stages.schedule.micros;
  RandomTokens tokens(cx, model, stages.cut, {rows, recipe.data.context});

  Update update(update_options(recipe), learner.optimizer(), learner.ranks());
  ExecutorHooks hooks;
  hooks.recorded = [&](Tape& tape) { update.overlap(cx, tape, micros); };
  hooks.tie = [&](int) { update.submit_tied(cx); };
  const auto one_step = [&](std::int64_t step) {
    update.begin(step, /*settle=*/false);
    for (Parameter* p : trainable_parameters_of(model))
      clear_grad(*p);
    StepWeight whole(cx, *mesh.data, tokens, micros);
    pipeline.train(cx, tokens, whole, hooks);
    update.norm(cx);
    update.apply(cx, recipe.optim.lr);
  };

  PipelineMeter rehearsal(pipeline), meter(pipeline);
  StepTimes times;
  const double sequences = static_cast<double>(rows * micros);
  times.flops_per_step = flops_of_step(config, sequences, static_cast<double>(recipe.data.context));
  times.tokens_per_step = recipe.batch.global * recipe.data.context;
  std::int64_t allocations_before = 0, sent_before = 0;
  std::vector<double> computing;
  for (std::int64_t step = 1; step <= warmup + steps; ++step) {
    if (step == warmup + 1) {
      allocations_before = cx.alloc->stats().system_allocations;
      sent_before = comm.ledger().total().sent_bytes;
    }
    comm.barrier();
    const Clock::time_point start = Clock::now();
    one_step(step);
    const double seconds = seconds_since(start), wait = learner.ranks().take_wait_seconds();
    (step > warmup ? meter : rehearsal).add_step(cx);
    if (step <= warmup) continue;
    times.seconds.push_back(seconds);
    computing.push_back(seconds - wait);
  }
  times.wire_bytes_per_step = static_cast<double>(comm.ledger().total().sent_bytes - sent_before) /
                              static_cast<double>(steps);
  times.exchange_bytes = cx.alloc->stats().of(Segment::kComm).live_bytes;
  times.pipeline = meter.report(cx, stages);
  times.system_allocations = cx.alloc->stats().system_allocations - allocations_before;
  times.compute_s = max_over_ranks(cx, comm, median_of(computing));
  const StepCost cost = step_cost(exchange, times.compute_s);
  times.predicted_s = update.is_dense() ? cost.dense_step_s() : cost.compressed_step_s();
  return times;
}

double matmul_peak_flops(Context& cx, DType precision) {
  double best = 0.0;
  for (const std::int64_t n : {512, 1024, 2048}) {
    Parameter weight;
    weight.value = Tensor::empty(cx, {n, n}, DType::kF32);
    fill_uniform(cx, weight.value, Rng{1, 0}, -1.0, 1.0);
    Tensor x = Tensor::empty(cx, {n, n}, precision);
    fill_uniform(cx, x, Rng{2, 0}, -1.0, 1.0);
    const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n * n);
    double total = 0.0;
    for (int i = 0; i < 4 || total < 0.3; ++i) {
      Tape tape(/*recording=*/false);
      const Clock::time_point start = Clock::now();
      linear(cx, tape, tape.constant(x), tape.param(weight));
      const double seconds = seconds_since(start);
      total += seconds;
      best = std::max(best, flops / seconds);
    }
  }
  return best;
}

}  // namespace gradwire
