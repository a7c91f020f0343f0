#include "jobs/language_model/measure_units.h"

#include <algorithm>
#include <chrono>

#include "core/ops/cross_entropy/cross_entropy.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

// Forward and backward of one unit of a decoder with a single block.
UnitCost run_unit(Context& cx, DecoderLm& model, int unit, const Tensor& ids) {
  const Shape hidden{ids.dim(0), ids.dim(1), model.config().width};
  Tensor x = Tensor::empty(cx, hidden, model.config().compute);
  fill_normal(cx, x, Rng{1, 0}, 1.0);
  const auto use = [&] { return cx.alloc->stats().of(Segment::kActivations); };
  for (Parameter* p : parameters_of(model))
    clear_grad(*p);
  UnitCost cost;
  const std::size_t before = use().live_bytes;
  synchronize(cx.stream);
  const Clock::time_point start = Clock::now();
  Tape tape;
  Var y = model.forward(cx, tape, {unit, unit + 1}, ids, unit == 0 ? Var{} : tape.input(x));
  if (unit == 2) y = cross_entropy(cx, tape, y, ids);
  tape.keep_only(y);
  const std::size_t kept = use().live_bytes;
  cx.alloc->reset_peaks();
  const Tensor seed = Tensor::zeros(cx, tape.value(y).shape(), tape.value(y).dtype());
  tape.backward(cx, y, seed);
  cost.bytes = static_cast<std::int64_t>(kept - before);
  cost.result_bytes = static_cast<std::int64_t>(seed.bytes());
  cost.working_bytes = static_cast<std::int64_t>(use().peak_bytes - kept);
  synchronize(cx.stream);
  cost.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return cost;
}

// What a block keeps that is not computed again.
std::int64_t whole_block_bytes(Context& cx, DecoderConfig config, const Tensor& ids) {
  config.recompute = false;
  DecoderLm model(cx, config);
  run_unit(cx, model, 1, ids);  // takes the gradients' memory
  return run_unit(cx, model, 1, ids).bytes;
}

}  // namespace

std::vector<UnitCost> measure_units(Context& cx, const DecoderConfig& config, const Shape& batch) {
  constexpr int kRuns = 5;  // the first warms caches and plans; of the others the fastest counts
  DecoderConfig one = config;
  one.layers = 1;
  DecoderLm model(cx, one);
  const Tensor ids = Tensor::zeros(cx, batch, DType::kI32);
  std::vector<UnitCost> kinds;
  for (int unit = 0; unit < unit_count(one); ++unit) {
    run_unit(cx, model, unit, ids);
    UnitCost best = run_unit(cx, model, unit, ids);
    for (int i = 2; i < kRuns; ++i)
      best.seconds = std::min(best.seconds, run_unit(cx, model, unit, ids).seconds);
    kinds.push_back(best);
  }
  if (one.recompute) kinds[1].rerun_bytes = whole_block_bytes(cx, one, ids) - kinds[1].bytes;
  std::vector<UnitCost> costs(static_cast<std::size_t>(unit_count(config)), kinds[1]);
  costs.front() = kinds[0];
  costs.back() = kinds[2];
  return costs;
}

}  // namespace gradwire
