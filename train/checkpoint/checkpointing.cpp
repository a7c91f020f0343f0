#include "train/checkpoint/checkpointing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "train/checkpoint/manifest.h"
#include "train/run_on_all_ranks.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

// The same checkpoint always gets the same name, whatever the working folder and the spelling.
std::string canonical(const std::string& path) {
  std::error_code error;
  fs::path found = fs::weakly_canonical(path, error);
  if (error) throw Error(ErrorKind::kIo, fmt::format("{}: {}", path, error.message()));
  if (!found.has_filename()) found = found.parent_path();  // a trailing slash
  return found.string();
}

// Nothing if the checkpoint is damaged.
std::optional<Manifest> manifest_at(const std::string& path, const CheckpointFiles& files) {
  try {
    return read_manifest(path, files);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCheckpoint) throw;
    return std::nullopt;
  }
}

std::int64_t step_at(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return step_of(name).value_or(replaced_step_of(name).value_or(0));
}

// Of a run, or of another folder of checkpoints, only a person knows which one to go back to. One
// that is gone may still be known by its path.
void check_is_one(const std::string& path) {
  if (step_at(path) > 0 || file_size((fs::path(path) / kManifestName).string())) return;
  for (const fs::path& dir : {fs::path(path) / "checkpoints", fs::path(path)}) {
    const std::vector<std::string> found = paths_of(list_checkpoints(dir.string()));
    if (found.empty()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("--resume {}: name one checkpoint to go back to; there are {}", path,
                            fmt::join(found, ", ")));
  }
}

std::string path_of_best(const std::string& from, const std::string& dir) {
  return from == kBestName ? (fs::path(dir) / kBestName).string() : from;
}

std::string time_stamp() {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
}

}  // namespace

bool names_best(const std::string& from) {
  return fs::path(from).filename() == kBestName;
}

std::optional<std::string> best_named(const std::string& from, const std::string& dir) {
  const fs::path folder = fs::path(path_of_best(from, dir)).parent_path();
  for (const fs::path& place : {folder / "checkpoints", folder})
    if (const auto best = best_checkpoint(place.string())) return best->path;
  return std::nullopt;
}

std::optional<LoadResult> Checkpointing::resume(Context& cx, const std::string& from) {
  Choice start;
  run_on_all_ranks(ranks_, [&] {
    if (ranks_.rank() == 0) start = choice(from);
  });
  // Rank 0's view counts: all ranks must take the same way.
  if (ranks_.all_gather(start.paths.empty() ? "none" : "some").front() == "none") {
    if (from == "none") policy_.run.lineage = {start.named};
    foreign_ = start.all;
    return std::nullopt;
  }
  LoadOptions options;
  options.model = policy_.run.model;
  options.layout = policy_.run.layout;
  options.objection = policy_.objection;
  options.before_file_operation = policy_.before_file_operation;
  LoadResult loaded = load_checkpoint(cx, start.paths, options, state_, ranks_);
  damaged_ = loaded.passed_over;
  policy_.run.lineage = loaded.lineage;
  if (loaded.path == start.first) policy_.run.lineage.push_back(start.named);
  foreign_ = foreign_to(loaded, start);
  return loaded;
}

Checkpointing::Choice Checkpointing::choice(const std::string& from) const {
  Choice choice;
  choice.all = list_checkpoints(policy_.dir, policy_.before_file_operation);
  if (from == "auto") {
    choice.paths = paths_of(choice.all);
  } else if (from == "none") {
    choice.named = {"none", policy_.course};
    choice.paths = descendants(choice);
    const bool finished =
        !choice.paths.empty() && step_at(choice.paths.front()) >= policy_.last_step;
    if (finished) choice.paths.clear();
  } else if (names_best(from)) {
    choose_best(from, choice);
  } else {
    choose_named(from, choice);
  }
  return choice;
}

void Checkpointing::choose_named(const std::string& path, Choice& choice) const {
  check_is_one(path);
  const auto manifest = manifest_at(path, CheckpointFiles(policy_.before_file_operation));
  choice.named = {canonical(path), manifest ? manifest->id : ""};
  choice.paths = descendants(choice);
  choice.paths.push_back(path);
  choice.first = path;
}

// Another may be the best by now, that this start has led to: it is known by its name alone.
void Checkpointing::choose_best(const std::string& from, Choice& choice) const {
  choice.named.from = canonical(path_of_best(from, policy_.dir));
  choice.paths = descendants(choice);
  if (!choice.paths.empty()) return;
  const std::optional<std::string> best = best_named(from, policy_.dir);
  if (!best) {
    throw Error(
        ErrorKind::kCheckpoint,
        fmt::format("--resume {}: no checkpoint has a score: checkpoint.best was not set", from));
  }
  choice.first = *best;
  choice.paths = {choice.first};
}

// A checkpoint that was named may be gone, as when newer ones have pushed it out: then its path is
// all that is known of it.
std::vector<std::string> Checkpointing::descendants(const Choice& choice) const {
  const auto is_named = [&](const Origin& o) {
    return choice.named.id.empty() ? o.from == choice.named.from : o.id == choice.named.id;
  };
  std::vector<std::string> paths;
  for (const CheckpointPlace& place : choice.all) {
    const auto manifest = manifest_at(place.path, CheckpointFiles(policy_.before_file_operation));
    if (manifest && std::ranges::any_of(manifest->lineage, is_named)) paths.push_back(place.path);
  }
  return paths;
}

std::vector<CheckpointPlace> Checkpointing::foreign_to(const LoadResult& loaded,
                                                       const Choice& choice) const {
  if (ranks_.rank() != 0) return {};
  const bool here =
      fs::path(canonical(loaded.path)).parent_path() == fs::path(canonical(policy_.dir));
  std::vector<CheckpointPlace> foreign;
  for (const CheckpointPlace& place : choice.all) {
    const bool tried = std::ranges::count(choice.paths, place.path) > 0;
    if (!here || (place.step > loaded.step && !tried)) foreign.push_back(place);
  }
  return foreign;
}

std::string Checkpointing::begin() {
  std::string aside;
  run_on_all_ranks(ranks_, [&] {
    if (ranks_.rank() != 0) return;
    CheckpointFiles().make_durable_dirs(policy_.dir);
    aside = set_aside();
    remove_unfinished(policy_.dir);
  });
  best_ = find_best();
  return aside;
}

std::optional<Checkpointing::Best> Checkpointing::find_best() const {
  if (!policy_.best) return std::nullopt;
  const std::string first = ranks_.rank() != 0 ? "" : [&] {
    const auto found = best_checkpoint(policy_.dir, policy_.best->name);
    return found ? fmt::format("{} {}", found->step, found->score.value) : std::string();
  }();
  const std::string text = ranks_.all_gather(first).front();
  if (text.empty()) return std::nullopt;
  const std::size_t space = text.find(' ');
  return Best{std::stoll(text),
              {policy_.best->name, std::stod(text.substr(space)), policy_.best->lower_is_better}};
}

std::optional<CheckpointScore> Checkpointing::score_of(std::span<const Sum> evaluation) const {
  if (!policy_.best) return std::nullopt;
  const std::optional<double> value = value_of(evaluation, policy_.best->name);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return CheckpointScore{policy_.best->name, *value, policy_.best->lower_is_better};
}

bool Checkpointing::is_best(std::span<const Sum> evaluation) const {
  const std::optional<CheckpointScore> score = score_of(evaluation);
  return score && (!best_ || score->is_better_than(best_->score));
}

std::string Checkpointing::set_aside() const {
  if (foreign_.empty()) return "";
  const CheckpointFiles files;
  const std::string wanted = (fs::path(policy_.dir) / ("aside-" + time_stamp())).string();
  std::string aside = wanted;
  for (int n = 2; fs::exists(aside); ++n)
    aside = fmt::format("{}-{}", wanted, n);
  files.make_dir(aside);
  for (const CheckpointPlace& place : foreign_)
    files.move(place.path, (fs::path(aside) / step_name(place.step)).string());
  files.sync(aside);
  files.sync(policy_.dir);
  return aside;
}

SaveResult Checkpointing::save(Context& cx, std::int64_t step, std::span<const Sum> evaluation) {
  const bool best = is_best(evaluation);
  SaveOptions options;
  options.dir = policy_.dir;
  options.run = policy_.run;
  options.keep_last = policy_.keep;
  options.damaged = damaged_;
  options.score = score_of(evaluation);
  if (best) {
    options.best = step;
  } else if (best_) {
    options.best = best_->step;
  }
  options.before_file_operation = policy_.before_file_operation;
  SaveResult saved = save_checkpoint(cx, options, step, state_, ranks_);
  std::erase(damaged_, saved.path);  // replaced
  if (best && saved.committed) best_ = Best{step, *options.score};
  return saved;
}

}  // namespace gradwire
