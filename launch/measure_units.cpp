#include <algorithm>
#include <chrono>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "launch/stages.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

// Forward and backward of one unit of a decoder with a single block.
UnitCost run_unit(Context& cx, DecoderLm& model, int unit, const Tensor& ids) {
  const Shape hidden{ids.dim(0), ids.dim(1), model.config().width};
  Tensor x = Tensor::empty(cx, hidden, model.config().compute);
  fill_normal(cx, x, Rng{1, 0}, 1.0);
  const auto live = [&] { return static_cast<std::int64_t>(cx.alloc->stats().live_bytes); };
  for (Parameter* p : parameters_of(model))
    clear_grad(*p);
  UnitCost cost;
  const std::int64_t before = live();
  const Clock::time_point start = Clock::now();
  Tape tape;
  Var y = model.forward(cx, tape, {unit, unit + 1}, ids, unit == 0 ? Var{} : tape.input(x));
  if (unit == 2) y = cross_entropy(cx, tape, y, ids);
  const Tensor seed = Tensor::zeros(cx, tape.value(y).shape(), tape.value(y).dtype());
  tape.keep_only(y);
  cost.bytes = live() - before;
  tape.backward(cx, y, seed);
  cost.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return cost;
}

}  // namespace

std::vector<UnitCost> measure_units(Context& cx, const Recipe& recipe,
                                    const DecoderConfig& config) {
  constexpr int kRuns = 5;  // the first warms caches and plans; of the others the fastest counts
  DecoderConfig one = config;
  one.layers = 1;
  DecoderLm model(cx, one);
  const Tensor ids = Tensor::zeros(cx, {recipe.batch.micro, recipe.data.context}, DType::kI32);
  std::vector<UnitCost> kinds;
  for (int unit = 0; unit < unit_count(one); ++unit) {
    run_unit(cx, model, unit, ids);
    UnitCost best = run_unit(cx, model, unit, ids);
    for (int i = 2; i < kRuns; ++i)
      best.seconds = std::min(best.seconds, run_unit(cx, model, unit, ids).seconds);
    kinds.push_back(best);
  }
  std::vector<UnitCost> costs(static_cast<std::size_t>(unit_count(config)), kinds[1]);
  costs.front() = kinds[0];
  costs.back() = kinds[2];
  return costs;
}

}  // namespace gradwire
