#include "jobs/adapters.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "train/checkpoint/checkpoint.h"
#include "train/run_on_all_ranks.h"

namespace gradwire {
namespace {

std::vector<std::string_view> methods() {
  std::vector<std::string_view> all{"none"};
  all.insert(all.end(), adapter_method_names().begin(), adapter_method_names().end());
  return all;
}

AdapterInit init_named(const std::string& name) {
  if (name == "normal") return AdapterInit::kNormal;
  return name == "zero" ? AdapterInit::kZero : AdapterInit::kDefault;
}

}  // namespace

AdapterConfig AdaptersRecipe::config() const {
  AdapterConfig config;
  config.method = adapter_method_named(method);
  config.targets = targets;
  config.rank = rank;
  config.alpha = alpha;
  config.rslora = rslora;
  config.dropout = dropout;
  config.scale = scale;
  config.init = init_named(init);
  return config;
}

void AdaptersRecipe::fields(FieldVisitor& v) {
  v("method", method,
    "what is attached to the frozen model and trained alone (docs/adapters.md); none: the model "
    "itself is trained",
    one_of(methods()).shapes_model());
  v("base", base,
    "the trained model: a checkpoint or the folder of a run, whose [model] this recipe must have",
    Limits{}.path({"job", "host"}).per_host());
  v("targets", targets,
    "patterns over the names of layers, such as \"*.q_proj\" or \"*.mlp\"; none: those of the "
    "method",
    Limits{}.shapes_model());
  v("also_train", also_train,
    "patterns over the base's parameter names that are trained too, such as \"*norm*\"",
    Limits{}.shapes_model());
  v("rank", rank, "of LoRA and DoRA; of the others the inner width of a bottleneck",
    at_least(1).up_to(1 << 20).shapes_model());
  v("alpha", alpha, "LoRA and DoRA: the update is multiplied by alpha / rank",
    greater_than(0.0).shapes_model());
  v("rslora", rslora, "LoRA and DoRA: by alpha / sqrt(rank) instead", Limits{}.shapes_model());
  v("dropout", dropout, "LoRA and DoRA: dropped share of what the update reads",
    at_least(0.0).below(1));
  v("scale", scale, "bottlenecks: factor of the update; 0: 4 for parallel, else 1",
    at_least(0.0).shapes_model());
  v("init", init,
    "first values; default: the method's own; normal: A with deviation 1 / rank, bottlenecks "
    "with 0.001; zero: bottlenecks that change nothing at first",
    one_of({"default", "normal", "zero"}));
}

void check_adapters(const AdaptersRecipe& adapters, Inputs inputs, bool base_is_known,
                    ProblemList& out) {
  if (!adapters.is_used()) {
    if (!adapters.base.empty()) {
      out.blame({"adapters.base", "adapters.method"},
                "a base, but no adapters: give adapters.method");
    }
    return;
  }
  if (inputs != Inputs::kNeeded || (adapters.base.empty() && base_is_known)) return;
  if (adapters.base.empty()) {
    out.blame({"adapters.base", "adapters.method"},
              "which trained model are the adapters for? Give a checkpoint or the folder of a run");
    return;
  }
  std::error_code failure;
  if (!std::filesystem::is_directory(adapters.base, failure)) {
    out.blame({"adapters.base"}, fmt::format("no such folder: '{}'", adapters.base), true);
  }
}

std::vector<std::string> base_checkpoints(const AdaptersRecipe& adapters) {
  return checkpoints_at(adapters.base);
}

void load_base(Context& cx, const AdaptersRecipe& adapters, Module& model,
               const std::string& identity, Coordinator& ranks) {
  std::vector<std::string> sources;
  run_on_all_ranks(ranks, [&] {
    if (ranks.rank() == 0) sources = base_checkpoints(adapters);
  });
  LoadOptions options;
  options.model = identity;
  options.weights_only = true;
  CheckpointState state;
  state.params = parameters_of(model);
  load_checkpoint(cx, sources, options, state, ranks);
}

}  // namespace gradwire
