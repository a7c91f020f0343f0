#include "launch/plan.h"

#include <fmt/format.h>

#include "launch/language_model.h"

namespace gradwire {
namespace {

constexpr double kMegabyte = 1e6;

// Elements that backward needs of one block, per row: two norms' inputs and outputs, q, k, v and
// the attention's output, gate, up and their product.
std::int64_t block_activations(const DecoderConfig& c) {
  const std::int64_t kv_width = c.width / c.heads * c.kv_heads;
  return 6 * c.width + 2 * kv_width + 3 * c.ffn_width;
}

std::int64_t activation_bytes(const DecoderConfig& c, std::int64_t rows) {
  const std::int64_t ends = 2 * c.width + c.vocab;  // the last norm and the logits
  const std::int64_t per_row = c.layers * block_activations(c) + ends;
  return rows * per_row * static_cast<std::int64_t>(size_of(c.compute));
}

std::int64_t optimizer_copies(const Recipe& recipe) {
  if (recipe.optim.name == "adamw") return 2;
  return recipe.optim.momentum > 0.0 ? 1 : 0;
}

}  // namespace

Plan make_plan(const Recipe& recipe, std::int64_t vocabulary, int ranks) {
  const DecoderConfig config = decoder_config(recipe, vocabulary);
  constexpr std::int64_t kF32Bytes = 4;
  Plan plan;
  plan.parameters = parameter_count(config);
  plan.tokens_per_step = recipe.batch.global * recipe.data.context;
  plan.accumulation = recipe.batch.accumulation(ranks);
  const std::int64_t dense = kF32Bytes * plan.parameters;
  plan.wire_bytes_per_step = 2 * (ranks - 1) * dense / ranks;
  plan.memory.params = dense;
  plan.memory.grads = dense;
  plan.memory.optim = optimizer_copies(recipe) * dense;
  plan.memory.activations = activation_bytes(config, recipe.batch.micro * recipe.data.context);
  return plan;
}

std::string to_text(const Plan& plan, const Recipe& recipe, int ranks) {
  const auto mb = [](std::int64_t bytes) { return static_cast<double>(bytes) / kMegabyte; };
  const MemoryPlan& m = plan.memory;
  std::string text = fmt::format("parameters      {}\n", plan.parameters);
  text += fmt::format(
      "batch           {} sequences = micro {} x {} ranks x {} accumulated; {} tokens a step\n",
      recipe.batch.global, recipe.batch.micro, ranks, plan.accumulation, plan.tokens_per_step);
  text += fmt::format(
      "memory          about {:.0f} MB a rank: parameters {:.0f}, gradients {:.0f}, optimizer "
      "{:.0f}, activations {:.0f}\n",
      mb(m.total()), mb(m.params), mb(m.grads), mb(m.optim), mb(m.activations));
  text +=
      fmt::format("bytes per step  {:.1f} MB sent by each rank\n", mb(plan.wire_bytes_per_step));
  return text;
}

}  // namespace gradwire
