#include "launch/measure/exchange_kinds.h"

#include <fmt/format.h>

#include "comm/local/local_comm.h"
#include "launch/assemble/learner.h"
#include "launch/assemble/stages.h"
#include "launch/measure/step_bench.h"

namespace gradwire {

Recipe for_workers(Recipe recipe, int workers) {
  const std::int64_t step = recipe.batch.micro * workers;
  recipe.batch.global = (recipe.batch.global + step - 1) / step * step;
  recipe.parallel = {.recompute = recipe.parallel.recompute,
                     .bucket_bytes = recipe.parallel.bucket_bytes};
  return recipe;
}

Recipe with_dense_exchange(Recipe recipe) {
  if (recipe.optim.is_onebit()) recipe.optim.name = "adamw";
  recipe.compress.method = "none";
  return recipe;
}

Recipe with_exchange(Recipe recipe, const std::string& method, const std::string& codec) {
  recipe = with_dense_exchange(std::move(recipe));
  recipe.compress.method = method;
  recipe.compress.codec = codec;
  return recipe;
}

std::string exchange_name(const Recipe& recipe) {
  if (!recipe.compresses()) return "dense f32";
  const CompressRecipe& c = recipe.compress;
  if (c.method == "powersgd") return fmt::format("powersgd, rank {}", c.rank);
  const bool sparse = c.codec == "topk" || c.codec == "randk";
  return fmt::format("{}, {}{}", c.resolved_method(recipe.optim.is_onebit()), c.codec,
                     sparse ? fmt::format(" {:.3g} %", 100.0 * c.ratio) : "");
}

double measured_compute(Context& cx, const Recipe& recipe, int workers) {
  constexpr std::int64_t kWarmup = 1, kSteps = 3;
  const auto alone = make_local_world(1);
  Recipe one = with_dense_exchange(recipe);
  one.batch.global =
      recipe.batch.micro * recipe.batch.accumulation(recipe.parallel.replicas(workers));
  one.parallel.pipeline = 1;
  return time_steps(cx, *alone[0], one, kWarmup, kSteps).compute_s;
}

RecipeExchange::RecipeExchange(Context& cx, const Recipe& recipe, int workers)
    : alone_(make_local_world(1)),
      mesh_(make_mesh(*alone_[0], {1, 1})),
      job_(job_of(recipe).make(recipe)) {
  const ModelOutline outline = job_->outline();
  stages_ = {with_messages(one_f_one_b(1, 1), false), even_cut(outline.size(), 1), {}};
  task_ = job_->build(cx, {mesh_, stages_}, Content::kRandom);
  group_ = std::make_unique<DataParallel>(
      cx, *alone_[0], make_dense_reducer(*alone_[0]), task_->trained(),
      DataParallelOptions{bucket_bytes(recipe, workers), recipe.optim.uncompressed});
}

void RecipeExchange::use(Context& cx, const Recipe& kind) {
  group_->compress_with(
      kind.compresses() ? make_compressed(cx, *alone_[0], kind, group_->buckets().all()) : nullptr);
}

}  // namespace gradwire
