#include "launch/step_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/linear/linear.h"
#include "launch/language_model.h"
#include "launch/learner.h"

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

}  // namespace

StepTimes time_steps(Session& session, std::int64_t warmup, std::int64_t steps) {
  Context& cx = session.cx();
  const Recipe& recipe = session.recipe();
  const DecoderConfig config = decoder_config(recipe, recipe.data.vocab_size);
  DecoderLm model(cx, config);
  Learner learner(cx, session.comm(), recipe, model);

  const std::int64_t rows = recipe.batch.micro;
  const std::int64_t accumulation = recipe.batch.accumulation(session.env().size);
  const Shape shape{rows, recipe.data.context};
  const Tensor inputs = random_ids(cx, shape, config.vocab, 1);
  const Tensor targets = random_ids(cx, shape, config.vocab, 2);
  Tensor seed = Tensor::empty(cx, {}, DType::kF32);
  fill(cx, seed, 1.0 / static_cast<double>(accumulation));

  Update update(update_options(recipe), learner.optimizer(), learner.ranks());
  const auto one_step = [&](std::int64_t step) {
    update.begin(step, /*settle=*/false);
    for (Parameter* p : trainable_parameters_of(model))
      clear_grad(*p);
    for (std::int64_t i = 0; i < accumulation; ++i) {
      Tape tape;
      if (i + 1 == accumulation) update.overlap(cx, tape);
      const Var loss = cross_entropy(cx, tape, model.logits(cx, tape, inputs), targets);
      tape.backward(cx, loss, seed);
    }
    update.norm(cx);
    update.apply(cx, recipe.optim.lr);
  };

  StepTimes times;
  const double sequences = static_cast<double>(rows * accumulation);
  times.flops_per_step = flops_of_step(config, sequences, static_cast<double>(recipe.data.context));
  times.tokens_per_step = recipe.batch.global * recipe.data.context;
  std::int64_t allocations_before = 0, sent_before = 0;
  for (std::int64_t step = 1; step <= warmup + steps; ++step) {
    if (step == warmup + 1) {
      allocations_before = session.allocator().stats().system_allocations;
      sent_before = session.comm().ledger().total().sent_bytes;
    }
    session.comm().barrier();
    const Clock::time_point start = Clock::now();
    one_step(step);
    if (step > warmup) times.seconds.push_back(seconds_since(start));
  }
  times.wire_bytes_per_step =
      static_cast<double>(session.comm().ledger().total().sent_bytes - sent_before) /
      static_cast<double>(steps);
  times.system_allocations = session.allocator().stats().system_allocations - allocations_before;
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
