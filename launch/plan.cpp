#include "launch/plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/host_limits.h"
#include "launch/language_model.h"
#include "launch/stages.h"
#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

constexpr double kMegabyte = 1e6;
constexpr std::int64_t kF32Bytes = 4;

// Elements that backward needs of one block, per row: two norms' inputs and outputs, q, k, v and
// the attention's output, gate, up and their product.
std::int64_t block_activations(const DecoderConfig& c) {
  const std::int64_t kv_width = c.width / c.heads * c.kv_heads;
  return 6 * c.width + 2 * kv_width + 3 * c.ffn_width;
}

// Of a unit, for a micro-batch of so many rows. With recomputation a block keeps its input, and is
// whole while it is differentiated.
UnitCost unit_memory(const DecoderConfig& c, int unit, std::int64_t rows) {
  UnitCost cost;
  const std::int64_t row_bytes = rows * static_cast<std::int64_t>(size_of(c.compute));
  if (unit == unit_count(c) - 1) {
    cost.bytes = row_bytes * (2 * c.width + c.vocab);
  } else if (unit > 0) {
    cost.bytes = row_bytes * (c.recompute ? c.width : block_activations(c));
    cost.rerun_bytes = row_bytes * block_activations(c) - cost.bytes;
    cost.working_bytes = cost.rerun_bytes;
    cost.result_bytes = row_bytes * c.width;
  }
  return cost;
}

std::vector<StageMemory> memory_of_stages(const DecoderConfig& c, const Stages& stages,
                                          std::int64_t rows) {
  std::vector<UnitCost> costs;
  for (int u = 0; u < unit_count(c); ++u)
    costs.push_back(unit_memory(c, u, rows));
  std::vector<StageMemory> memory;
  for (const UnitRange& units : stages.cut)
    memory.push_back(stage_memory(costs, units));
  return memory;
}

std::int64_t parameters_of_stage(const DecoderConfig& c, UnitRange stage) {
  DecoderConfig one = c;
  one.layers = 1;
  one.tie_embeddings = true;
  const std::int64_t table = c.vocab * c.width;
  const std::int64_t block = parameter_count(one) - table - c.width;
  const bool first = stage.begin == 0, last = stage.end == unit_count(c);
  const std::int64_t blocks = stage.end - stage.begin - (first ? 1 : 0) - (last ? 1 : 0);
  const bool both = first && last && c.tie_embeddings;
  const std::int64_t tables = (first ? 1 : 0) + (last ? 1 : 0) - (both ? 1 : 0);
  return blocks * block + tables * table + (last ? c.width : 0);
}

std::int64_t optimizer_copies(const Recipe& recipe) {
  if (recipe.optim.is_adam()) return 2;
  return recipe.optim.momentum > 0.0 ? 1 : 0;
}

MemoryPlan memory_of_rank(const Recipe& recipe, const DecoderConfig& config, const Stages& stages,
                          int rank, int replicas) {
  MemoryPlan memory;
  for (const UnitRange& stage : stages.of_rank(rank))
    memory.params += kF32Bytes * parameters_of_stage(config, stage);
  const std::int64_t rows = recipe.batch.micro * recipe.data.context;
  memory.activations =
      peak_activations(stages.schedule.program(rank), memory_of_stages(config, stages, rows));
  memory.grads = memory.params;
  memory.optim = optimizer_copies(recipe) * memory.params;
  if (recipe.parallel.shard_optimizer) {
    memory.optim /= replicas;
    // All ranks know the second moment to a byte (parallel/sharded/sharded_onebit_adam.h).
    if (recipe.optim.is_onebit()) memory.optim += memory.params / kF32Bytes;
  }
  return memory;
}

}  // namespace

Plan make_plan(const Recipe& recipe, std::int64_t vocabulary, const MeshShape& shape) {
  const DecoderConfig config = decoder_config(recipe, vocabulary);
  const Stages stages = stages_without_measuring(recipe, config, shape.data);
  const DryRun dry = dry_run(stages.schedule, SendModel::kEager, {{1.0}, {1.0}, {1.0}});
  Plan plan;
  plan.parameters = parameter_count(config);
  plan.tokens_per_step = recipe.batch.global * recipe.data.context;
  plan.accumulation = stages.schedule.micros;
  plan.bubble_share = dry.bubble_share;
  for (int r = 0; r < shape.pipeline; ++r) {
    const MemoryPlan memory = memory_of_rank(recipe, config, stages, r, shape.data);
    if (memory.total() > plan.memory.total()) plan.memory = memory;
  }
  plan.wire_bytes_per_step = 2 * (shape.data - 1) * plan.memory.grads / shape.data;
  plan.boundary_bytes_per_step =
      shape.pipeline > 1 ? 2 * plan.accumulation * stages.schedule.chunks * boundary_bytes(recipe)
                         : 0;
  return plan;
}

void check_fits(const Plan& plan, int ranks_of_host, std::int64_t host_bytes) {
  const std::int64_t needed = ranks_of_host * plan.memory.total();
  if (needed <= host_bytes) return;
  throw Error(
      ErrorKind::kConfig,
      fmt::format("about {:.0f} MB for {} ranks on this host, where they may use {:.0f} MB: "
                  "take a smaller batch.micro, parallel.recompute, more stages or more hosts",
                  static_cast<double>(needed) / kMegabyte, ranks_of_host,
                  static_cast<double>(host_bytes) / kMegabyte));
}

void check_weights_fit(const Recipe& recipe, const RankEnvironment& env) {
  Plan plan = make_plan(recipe, recipe.data.vocab_size, mesh_shape(recipe, env.size));
  plan.memory = {.params = plan.memory.params};
  check_fits(plan, env.local_size, available_memory_bytes());
}

std::string to_text(const Plan& plan, const Recipe& recipe, const MeshShape& shape) {
  const auto mb = [](std::int64_t bytes) { return static_cast<double>(bytes) / kMegabyte; };
  const MemoryPlan& m = plan.memory;
  std::string text = fmt::format("parameters      {}\n", plan.parameters);
  text += fmt::format(
      "batch           {} sequences = micro {} x {} {} x {} accumulated; {} tokens a step\n",
      recipe.batch.global, recipe.batch.micro, shape.data,
      shape.pipeline > 1 ? "replicas" : "ranks", plan.accumulation, plan.tokens_per_step);
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
