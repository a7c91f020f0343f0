#include "launch/measure/simulation.h"

#include <algorithm>

#include "launch/measure/exchange_kinds.h"
#include "launch/measure/exchange_probe.h"

namespace gradwire {
namespace {

// Refreshes of the second moment up to update `last` (optim/zero_one_adam.h).
std::int64_t refreshes_until(std::int64_t last) {
  constexpr std::int64_t kPerDoubling = 16;
  std::int64_t count = 0;
  for (std::int64_t t = 1; t <= last; t += std::int64_t{1} << (count / kPerDoubling))
    ++count;
  return count;
}

// In the same buckets, one after the other, hidden behind computing as ours is.
SimulatedExchange ring_of(const SimulatedExchange& dense, const NetworkModel& network,
                          const StepCost& cost, const Simulation& s) {
  const double bytes = static_cast<double>(s.parameters) * sizeof(float);
  const auto buckets = static_cast<double>(s.buckets);
  SimulatedExchange ring{.name = "dense f32 in a ring", .sent_bytes = dense.sent_bytes};
  ring.exchange_s = buckets * ring_seconds(network, bytes / buckets);
  StepCost as_ring = cost;
  as_ring.dense_s = ring.exchange_s;
  ring.step_s = as_ring.dense_step_s();
  return ring;
}

}  // namespace

std::int64_t dense_steps_of(const Recipe& recipe) {
  if (!recipe.compresses()) return recipe.train.steps;
  const OptimRecipe& o = recipe.optim;
  std::int64_t steps = o.is_onebit() ? recipe.freeze_step() : recipe.compress.dense_steps;
  if (o.name == "zero_one_adam") steps = refreshes_until(steps);
  return std::min(steps, recipe.train.steps);
}

Simulation simulate(Context& cx, const Recipe& recipe, const NetworkModel& network,
                    std::optional<double> compute_s) {
  const int workers = network.ranks();
  Simulation s;
  s.compute_s = compute_s ? *compute_s : measured_compute(cx, recipe, workers);
  RecipeExchange exchange(cx, recipe, workers);
  s.parameters = exchange.group().buckets().elements();
  s.buckets = exchange.group().buckets().size();
  const auto add = [&](std::string name, const Recipe& kind) -> StepCost {
    exchange.use(cx, kind);
    const double work = compression_work(cx, kind, workers, s.parameters);
    const ExchangeForecast f = forecast({network, network, work}, exchange.group(), kind);
    const StepBytes bytes = exchange.group().sent_bytes(workers);
    const StepCost cost = step_cost(f, s.compute_s);
    SimulatedExchange e{.name = std::move(name), .codec_s = f.codec_s};
    e.sent_bytes = static_cast<double>(kind.compresses() ? bytes.compressed : bytes.dense);
    e.exchange_s = kind.compresses() ? f.compressed_s : f.dense_s;
    e.step_s = kind.compresses() ? cost.compressed_step_s() : cost.dense_step_s();
    s.exchanges.push_back(std::move(e));
    return cost;
  };
  const StepCost dense_cost = add("dense f32", with_dense_exchange(recipe));
  s.ring = ring_of(s.exchanges.front(), network, dense_cost, s);
  add("bf16", with_exchange(recipe, "plain", "bf16"));
  s.dense_steps = dense_steps_of(recipe);
  if (!recipe.compresses()) return s;
  add(exchange_name(recipe), recipe);

  const SimulatedExchange &dense = s.exchanges.front(), &compressed = s.exchanges.back();
  const double share = static_cast<double>(s.dense_steps) / static_cast<double>(recipe.train.steps);
  const auto against_dense = [&](double of_dense, double of_compressed) {
    return of_dense / (share * of_dense + (1.0 - share) * of_compressed);
  };
  s.fewer_bytes = against_dense(dense.sent_bytes, compressed.sent_bytes);
  s.speed_up = against_dense(dense.step_s, compressed.step_s);
  return s;
}

}  // namespace gradwire
