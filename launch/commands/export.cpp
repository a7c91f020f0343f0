#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/printable.h"
#include "launch/assemble/load_model.h"
#include "launch/assemble/plan.h"
#include "launch/assemble/session.h"
#include "launch/assemble/stages.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

// The folder of the run that a checkpoint is of: the checkpoint lies in RUN/checkpoints/, or in a
// folder below that. Empty if there is none.
fs::path run_of(const std::string& ckpt) {
  constexpr int kFoldersUp = 3;
  fs::path folder = fs::absolute(ckpt).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  for (int i = 0; i <= kFoldersUp; ++i, folder = folder.parent_path())
    if (fs::exists(folder / "resolved.toml")) return folder;
  return {};
}

// What the run of the checkpoint was started with, for one rank that has the whole model.
Recipe recipe_of(const ExportArgs& args) {
  for (const std::string& ckpt : args.ckpt)
    checkpoints_at(ckpt);  // which says what is wrong with the path
  const fs::path run = run_of(args.ckpt.front());
  if (run.empty()) {
    throw Error(
        ErrorKind::kCheckpoint,
        fmt::format("{}: lies in no folder of a run (one with resolved.toml)", args.ckpt.front()));
  }
  RecipeArgs of_run = args.recipe;
  of_run.path = (run / "resolved.toml").string();
  Recipe recipe = load_recipe(of_run);
  recipe.parallel = {};
  validate(recipe, 1, Inputs::kNotNeeded);
  check_weights_fit(recipe, read_rank_environment());
  return recipe;
}

// What evaluating the model at this step gave, as the run has noted it; empty if it did not.
std::string evaluation_at(const std::string& checkpoint, std::int64_t step) {
  constexpr std::size_t kLongestLine = std::size_t{1} << 20;
  const Manifest manifest = read_manifest(checkpoint);
  std::string found;
  if (manifest.score)
    found = fmt::format("{} {:.6g}", manifest.score->metric, manifest.score->value);
  std::ifstream in(run_of(checkpoint) / "metrics.jsonl");
  for (std::string line; next_line(in, line, kLongestLine);) {
    const auto row = nlohmann::ordered_json::parse(line, nullptr, false);
    if (!row.is_object() || row.value("event", nlohmann::ordered_json()) != "evaluation" ||
        row.value("step", nlohmann::ordered_json()) != step)
      continue;
    found.clear();
    for (const auto& [name, value] : row.items()) {
      if (!value.is_number_float() || name == "seconds" || name == "time") continue;
      found += fmt::format("{}{} {:.6g}", found.empty() ? "" : ", ", name, value.get<double>());
    }
  }
  return found;
}

// The mean of several values of the same parameters, summed in f64.
class MeanOfParameters {
 public:
  explicit MeanOfParameters(ParameterSet params)
      : params_(std::move(params)), sums_(params_.size()) {}
  void add(Context& cx) {
    for (std::size_t i = 0; i < params_.size(); ++i) {
      const std::vector<float> values = params_[i]->value.to_host<float>(cx);
      sums_[i].resize(values.size());
      for (std::size_t k = 0; k < values.size(); ++k)
        sums_[i][k] += static_cast<double>(values[k]);
    }
    ++count_;
  }
  void give(Context& cx) const {
    for (std::size_t i = 0; i < params_.size(); ++i) {
      std::vector<float> mean;
      for (const double sum : sums_[i])
        mean.push_back(static_cast<float>(sum / count_));
      copy(cx, params_[i]->value, Tensor::from(cx, params_[i]->value.shape(), mean));
      ++params_[i]->version;
    }
  }

 private:
  ParameterSet params_;
  std::vector<std::vector<double>> sums_;
  double count_ = 0.0;
};

// Loads the weights of every checkpoint asked for, and takes their mean if there are several.
std::vector<LoadResult> load_all(Session& session, const Job& job, Task& task,
                                 const std::vector<std::string>& paths,
                                 const std::vector<std::vector<std::string>>& sources) {
  std::vector<LoadResult> loaded;
  if (paths.size() == 1) {
    return {load_weights(session, job, task, paths.front(), sources.front())};
  }
  MeanOfParameters mean(task.saved());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    loaded.push_back(load_weights(session, job, task, paths[i], sources[i]));
    mean.add(session.cx());
  }
  mean.give(session.cx());
  return loaded;
}

std::string origin_text(const std::vector<LoadResult>& loaded) {
  if (loaded.size() == 1) return fmt::format("step {}", loaded.front().step);
  std::string steps;
  for (const LoadResult& one : loaded)
    steps += fmt::format("{}{}", steps.empty() ? "" : ", ", one.step);
  return fmt::format("the mean of {} checkpoints (steps {})", loaded.size(), steps);
}

}  // namespace

ExitCode run_export(const ExportArgs& args) {
  if (read_rank_environment().size > 1) {
    throw Error(ErrorKind::kUsage, "export runs on one rank: start it without mpirun");
  }
  const Recipe of_run = recipe_of(args);
  const bool is_there = fs::exists(args.out);
  if (is_there != args.verify) {
    throw Error(args.verify ? ErrorKind::kData : ErrorKind::kUsage,
                fmt::format("{}: {}", args.out,
                            is_there ? "is there already; give --out a new folder, or --verify"
                                     : "no such folder"));
  }
  Session session(of_run, "export");
  const Recipe& recipe = session.recipe();
  const std::unique_ptr<Job> job = job_of(recipe).make(recipe);
  std::vector<std::vector<std::string>> sources;
  for (const std::string& ckpt : args.ckpt)
    sources.push_back(weight_sources(session, *job, ckpt));
  JobHost host = session.host();
  job->prepare(host, {.content = Content::kModel, .checkpoints = sources.front()});
  const Stages stages = plan_stages(session.cx(), session.comm(), recipe, *job);
  const std::unique_ptr<Task> task =
      job->build(session.cx(), {session.mesh(), stages}, Content::kModel);
  const std::vector<LoadResult> loaded = load_all(session, *job, *task, args.ckpt, sources);
  const LoadResult& first = loaded.front();
  const std::string done = job->export_model(
      host, *task,
      {.format = args.format,
       .type = args.type,
       .folder = args.out,
       .verify = args.verify,
       .checkpoint = first.path,
       .from = origin_text(loaded),
       .evaluation = loaded.size() == 1 ? evaluation_at(first.path, first.step) : ""});
  fmt::print("{}\n", printable(done));
  return ExitCode::kDone;
}

}  // namespace gradwire
