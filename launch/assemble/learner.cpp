#include "launch/assemble/learner.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "comm/reducer/compressed_reducer.h"
#include "comm/reducer/host_reducer.h"
#include "comm/reducer/power_sgd.h"
#include "core/error.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "optim/onebit_lamb.h"
#include "optim/sgd.h"
#include "optim/zero_one_adam.h"
#include "parallel/sharded/sharded_onebit_adam.h"
#include "parallel/sharded/sharded_optimizer.h"

namespace gradwire {
namespace {

using Names = std::vector<std::string>;

Names names_in(const std::vector<ParameterSet>& sets) {
  Names names;
  for (const ParameterSet& set : sets)
    for (const Parameter* p : set)
      names.push_back(p->name);
  return names;
}

AdamWConfig adam_config(const OptimRecipe& o, const Names& conditional) {
  AdamWConfig config;
  config.conditional = conditional;
  config.beta1 = o.beta1;
  config.beta2 = o.beta2;
  config.eps = o.eps;
  config.weight_decay = o.weight_decay;
  config.no_decay = o.no_decay;
  return config;
}

SgdConfig sgd_config(const OptimRecipe& o, const Names& conditional) {
  SgdConfig config;
  config.conditional = conditional;
  config.momentum = o.momentum;
  config.nesterov = o.nesterov;
  config.weight_decay = o.weight_decay;
  config.no_decay = o.no_decay;
  return config;
}

// Conditional sets are exchanged as they are: a momentum agreed on is changed by every step.
OnebitAdamConfig onebit_config(const Recipe& recipe, const Names& conditional = {}) {
  OnebitAdamConfig config;
  config.adam = adam_config(recipe.optim, conditional);
  config.freeze.freeze_step = recipe.optim.freeze_step;
  config.freeze.lr_warmup_steps = recipe.schedule.warmup_steps;
  config.freeze.thaw_ratio = recipe.optim.thaw_ratio;
  config.dense = recipe.optim.uncompressed;
  config.dense.insert(config.dense.end(), conditional.begin(), conditional.end());
  return config;
}

ZeroOneAdamConfig zero_one_config(const Recipe& recipe, const std::string& tied) {
  const OptimRecipe& o = recipe.optim;
  constexpr std::int64_t kDoublings = 6;
  ZeroOneAdamConfig config;
  config.adam = adam_config(o, {});
  config.var_freeze_step = recipe.freeze_step();
  config.local_step_start = config.var_freeze_step;
  config.local_step_scaler =
      o.local_step_scaler > 0
          ? o.local_step_scaler
          : std::max<std::int64_t>(1, (recipe.train.steps - config.local_step_start) / kDoublings);
  config.local_step_clipper = o.local_steps;
  if (!tied.empty() && recipe.parallel.pipeline > 1) config.never_local = {tied};
  return config;
}

OnebitLambConfig lamb_config(const Recipe& recipe) {
  const OnebitAdamConfig onebit = onebit_config(recipe);
  OnebitLambConfig config;
  config.adam = onebit.adam;
  config.freeze = onebit.freeze;
  return config;
}

std::unique_ptr<Optimizer> make_elementwise(Context& cx, const OptimRecipe& o,
                                            std::span<Parameter* const> params,
                                            const Names& conditional) {
  if (o.name == "sgd") return make_sgd(cx, params, sgd_config(o, conditional));
  return make_adamw(cx, params, adam_config(o, conditional));
}

void check_conditional(const Recipe& recipe, const Names& conditional) {
  const std::string& rule = recipe.optim.name;
  const bool sharded_onebit = rule == "onebit_adam" && recipe.parallel.shard_optimizer;
  if (conditional.empty() || (rule != "onebit_lamb" && rule != "zero_one_adam" && !sharded_onebit))
    return;
  throw Error(
      ErrorKind::kConfig,
      fmt::format("optim.name = \"{}\"{}: cannot leave '{}' and others of its kind out of a "
                  "step, as this job does: use adamw, sgd or onebit_adam, the last without "
                  "parallel.shard_optimizer",
                  rule, sharded_onebit ? " with parallel.shard_optimizer" : "",
                  conditional.front()));
}

std::unique_ptr<Optimizer> make_sharded_optimizer(Context& cx, const Recipe& recipe, Shard& shard,
                                                  const Names& conditional) {
  if (recipe.optim.name == "onebit_adam") {
    return make_sharded_onebit_adam(cx, shard, onebit_config(recipe));
  }
  return make_sharded(shard, [&](std::span<Parameter* const> pieces) {
    return make_elementwise(cx, recipe.optim, pieces, conditional);
  });
}

std::unique_ptr<Optimizer> make_optimizer(Context& cx, const Recipe& recipe,
                                          const ParameterSet& trained, const GradBuckets& buckets,
                                          const std::string& tied, const Names& conditional) {
  const OptimRecipe& o = recipe.optim;
  if (o.name == "onebit_adam") {
    return make_onebit_adam(cx, buckets.all(), onebit_config(recipe, conditional));
  }
  if (o.name == "onebit_lamb") return make_onebit_lamb(cx, buckets.all(), lamb_config(recipe));
  if (o.name == "zero_one_adam") {
    return make_zero_one_adam(cx, buckets.all(), zero_one_config(recipe, tied));
  }
  return make_elementwise(cx, o, trained, conditional);
}

}  // namespace

std::int64_t bucket_bytes(const Recipe& recipe, int ranks) {
  if (recipe.parallel.bucket_bytes > 0) return recipe.parallel.bucket_bytes;
  constexpr std::int64_t kUsual = 4 << 20, kMost = 64 << 20;
  constexpr std::size_t kLeastMessage = 4096;  // to handle one takes about as long as a tenth of it
  std::int64_t bytes = kUsual;
  const std::string method = recipe.compress.resolved_method(recipe.optim.is_onebit());
  if (method == "none" || method == "powersgd") return bytes;
  const std::unique_ptr<Codec> codec = make_codec(codec_config(recipe.compress));
  const auto message = [&] {
    return codec->max_bytes(bytes / static_cast<std::int64_t>(sizeof(float)) / ranks);
  };
  while (bytes < kMost && message() < kLeastMessage)
    bytes *= 2;
  return bytes;
}

CodecConfig codec_config(const CompressRecipe& c) {
  return {c.codec, c.block, c.ratio, static_cast<int>(c.levels)};
}

std::unique_ptr<Reducer> make_compressed(Context& cx, Communicator& comm, const Recipe& recipe,
                                         std::span<const FlatBucket> layout) {
  const CompressRecipe& c = recipe.compress;
  const auto seed = static_cast<std::uint64_t>(recipe.seed);
  if (c.method == "powersgd") {
    return make_host_reducer(cx, layout, [&](Context& host, std::span<const FlatBucket> buckets) {
      return make_power_sgd_reducer(host, comm, buckets, {.rank = c.rank, .seed = seed});
    });
  }
  CompressionConfig config;
  config.method = feedback_named(c.resolved_method(recipe.optim.is_onebit()));
  config.codec = codec_config(c);
  if (c.eta > 0.0) config.eta = c.eta;
  config.sgdm_beta = c.sgdm_beta;
  config.seed = seed;
  return make_host_reducer(cx, layout, [&](Context& host, std::span<const FlatBucket> buckets) {
    return make_compressed_reducer(host, comm, buckets, config);
  });
}

namespace {

using MakeReducer = std::unique_ptr<Reducer> (*)(Communicator&);
MakeReducer dense_reducer(const Recipe& recipe) {
  return recipe.parallel.shard_optimizer ? make_scatter_reducer : make_dense_reducer;
}

// A shared parameter lives at both ends of a pipeline.
std::optional<TiedParameter> tied_parameter(const Mesh& mesh, const Recipe& recipe,
                                            const ParameterSet& trained, const std::string& name) {
  if (!mesh.tied_embedding || name.empty()) return std::nullopt;
  const auto shared = std::ranges::find(trained, name, &Parameter::name);
  if (shared == trained.end()) return std::nullopt;
  return TiedParameter{name, mesh.tied_embedding.get(), mesh.here.pipeline == 0,
                       dense_reducer(recipe)};
}

DataParallelOptions parallel_options(const Mesh& mesh, const Recipe& recipe,
                                     const ParameterSet& trained, ParameterSet frozen,
                                     const std::string& tied,
                                     const std::vector<ParameterSet>& conditional) {
  DataParallelOptions options;
  options.bucket_bytes = bucket_bytes(recipe, mesh.data->size());
  options.uncompressed = recipe.optim.uncompressed;
  options.stages = mesh.shape.pipeline > 1 ? mesh.pipeline.get() : nullptr;
  options.tied = tied_parameter(mesh, recipe, trained, tied);
  options.frozen = std::move(frozen);
  options.conditional = conditional;
  if (recipe.optim.is_onebit()) {
    const Names names = names_in(conditional);
    options.uncompressed.insert(options.uncompressed.end(), names.begin(), names.end());
  }
  return options;
}

}  // namespace

Learner::Learner(Context& cx, const Mesh& mesh, const Recipe& recipe, const ParameterSet& trained,
                 ParameterSet frozen, const std::string& tied,
                 const std::vector<ParameterSet>& conditional)
    : ranks_(cx, *mesh.data, dense_reducer(recipe)(*mesh.data), trained,
             parallel_options(mesh, recipe, trained, std::move(frozen), tied, conditional)) {
  const Names names = names_in(conditional);
  check_conditional(recipe, names);
  if (recipe.parallel.shard_optimizer) {
    shard_.emplace(cx, ranks_.comms(), ranks_.buckets().all());
    optimizer_ = make_sharded_optimizer(cx, recipe, *shard_, names);
  } else {
    optimizer_ = make_optimizer(cx, recipe, trained, ranks_.buckets(), tied, names);
  }
  if (!recipe.compresses()) return;
  for (std::size_t g = 0; g < ranks_.groups(); ++g)
    ranks_.compress_with(make_compressed(cx, ranks_.comm(g), recipe, ranks_.layout(g)), g);
}

ScheduleConfig schedule_config(const Recipe& recipe) {
  ScheduleConfig config;
  config.decay = decay_named(recipe.schedule.kind);
  config.peak_lr = recipe.optim.lr;
  config.warmup_steps = recipe.schedule.warmup_steps;
  config.total_steps = recipe.train.steps;
  config.final_ratio = recipe.schedule.final_ratio;
  return config;
}

UpdateOptions update_options(const Recipe& recipe) {
  // The 1-bit rules want the mean of the gradients itself if they want gradients.
  const std::int64_t dense_steps = recipe.optim.is_onebit() ? -1 : recipe.compress.dense_steps;
  return {.clip_norm = recipe.optim.clip_norm, .dense_steps = dense_steps};
}

}  // namespace gradwire
