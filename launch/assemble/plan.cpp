#include "launch/assemble/plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/assemble/stages.h"
#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

constexpr double kMegabyte = 1e6;
constexpr std::int64_t kF32Bytes = 4;

std::vector<StageMemory> memory_of_stages(const ModelOutline& model, const Stages& stages) {
  std::vector<UnitCost> costs;
  for (const LayerOutline& layer : model.layers)
    costs.push_back(layer.memory);
  std::vector<StageMemory> memory;
  for (const UnitRange& units : stages.cut)
    memory.push_back(stage_memory(costs, units));
  return memory;
}

std::int64_t optimizer_copies(const Recipe& recipe) {
  if (recipe.optim.is_adam()) return 2;
  return recipe.optim.momentum > 0.0 ? 1 : 0;
}

MemoryPlan memory_of_rank(const Recipe& recipe, const ModelOutline& model, const Stages& stages,
                          int rank, int replicas) {
  MemoryPlan memory;
  for (const UnitRange& stage : stages.of_rank(rank)) {
    memory.params += kF32Bytes * model.parameters(stage);
    memory.grads += kF32Bytes * model.trained(stage);
  }
  memory.activations =
      peak_activations(stages.schedule.program(rank), memory_of_stages(model, stages));
  memory.optim = optimizer_copies(recipe) * memory.grads;
  if (recipe.parallel.shard_optimizer) {
    memory.optim /= replicas;
    // All ranks know the second moment to a byte (parallel/sharded/sharded_onebit_adam.h).
    if (recipe.optim.is_onebit()) memory.optim += memory.grads / kF32Bytes;
  }
  return memory;
}

}  // namespace

Plan make_plan(const Recipe& recipe, const ModelOutline& model, const MeshShape& shape) {
  const Stages stages = stages_without_measuring(recipe, model, shape.data);
  const DryRun dry = dry_run(stages.schedule, SendModel::kEager, {{1.0}, {1.0}, {1.0}});
  Plan plan;
  plan.parameters = model.parameters();
  plan.trained = model.trained();
  plan.count_per_step = recipe.batch.global * model.count_per_sequence;
  plan.accumulation = stages.schedule.micros;
  plan.bubble_share = dry.bubble_share;
  std::int64_t most_gradients = 0;
  for (int r = 0; r < shape.pipeline; ++r) {
    const MemoryPlan memory = memory_of_rank(recipe, model, stages, r, shape.data);
    if (memory.total() > plan.memory.total()) plan.memory = memory;
    most_gradients = std::max(most_gradients, memory.grads);
  }
  plan.wire_bytes_per_step = 2 * (shape.data - 1) * most_gradients / shape.data;
  plan.boundary_bytes_per_step =
      shape.pipeline > 1
          ? 2 * plan.accumulation * stages.schedule.chunks * boundary_bytes(recipe, model)
          : 0;
  return plan;
}

void check_fits(const Plan& plan, const DeviceRoom& room) {
  const std::int64_t needed = room.ranks * plan.memory.total();
  if (needed <= room.bytes) return;
  throw Error(
      ErrorKind::kConfig,
      fmt::format("about {:.0f} MB for {} ranks {}, where they may use {:.0f} MB: take a smaller "
                  "batch.micro, parallel.recompute, more stages or more hosts",
                  static_cast<double>(needed) / kMegabyte, room.ranks, room.where,
                  static_cast<double>(room.bytes) / kMegabyte));
}

void check_weights_fit(const Recipe& recipe, const RankEnvironment& env) {
  Plan plan = make_plan(recipe, job_of(recipe).outline(recipe), mesh_shape(recipe, env.size));
  plan.memory = {.params = plan.memory.params};
  check_fits(plan, room_of_rank(recipe, env));
}

std::string to_text(const Plan& plan, const Recipe& recipe, const ModelOutline& model,
                    const MeshShape& shape) {
  const auto mb = [](std::int64_t bytes) { return static_cast<double>(bytes) / kMegabyte; };
  const MemoryPlan& m = plan.memory;
  std::string text = fmt::format("parameters      {}", plan.parameters);
  if (plan.trained != plan.parameters)
    text += fmt::format(", of which {} are trained", plan.trained);
  text += "\n";
  text += fmt::format(
      "batch           {} sequences = micro {} x {} {} x {} accumulated; {} {} a step\n",
      recipe.batch.global, recipe.batch.micro, shape.data,
      shape.pipeline > 1 ? "replicas" : "ranks", plan.accumulation, plan.count_per_step,
      model.counts);
  text += fmt::format(
      "memory          about {:.0f} MB a rank: parameters {:.0f}, gradients {:.0f}, optimizer "
      "{:.0f}, activations {:.0f}\n",
      mb(m.total()), mb(m.params), mb(m.grads), mb(m.optim), mb(m.activations));
  text +=
      fmt::format("bytes per step  {:.1f} MB sent by each rank\n", mb(plan.wire_bytes_per_step));
  if (shape.pipeline == 1) return text;
  text += fmt::format(
      "pipeline        {}, {} stages a rank; up to {:.1f} MB of results and gradients sent in a "
      "step; {:.0f} % of the time idle if all stages cost the same\n",
      recipe.parallel.schedule, recipe.parallel.chunks, mb(plan.boundary_bytes_per_step),
      100.0 * plan.bubble_share);
  return text;
}

}  // namespace gradwire
