#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

std::string join(const std::string& dir, const std::string& name) {
  return (std::filesystem::path(dir) / name).string();
}

// Deletes what is half written or half deleted, by its name.
bool is_left_over(const std::string& name) {
  const std::size_t mark = name.find(kUnfinishedMark);
  const bool unfinished = mark != std::string::npos && step_of(name.substr(0, mark));
  return unfinished || name.starts_with(kTrashPrefix);
}

// Of a run, or of a folder of checkpoints.
std::string best_in(const std::string& path) {
  for (const std::string& dir : {join(path, "checkpoints"), path})
    if (const auto best = best_checkpoint(dir)) return best->path;
  throw Error(ErrorKind::kCheckpoint,
              fmt::format("no checkpoint in {} has a score: checkpoint.best was not set", path));
}

}  // namespace

std::vector<CheckpointPlace> list_checkpoints(const std::string& dir, const FileHook& hook) {
  std::map<std::int64_t, std::string, std::greater<>> newest_first;
  const std::vector<std::string> names = CheckpointFiles(hook).names_in(dir);
  for (const std::string& name : names)
    if (const auto step = step_of(name)) newest_first.emplace(*step, join(dir, name));
  for (const std::string& name : names)  // counts only if its step is not there
    if (const auto step = replaced_step_of(name)) newest_first.emplace(*step, join(dir, name));
  std::vector<CheckpointPlace> places;
  for (const auto& [step, path] : newest_first)
    places.push_back({step, path});
  return places;
}

bool CheckpointScore::is_better_than(const CheckpointScore& other) const {
  if (!std::isfinite(value)) return false;
  return !std::isfinite(other.value) ||
         (lower_is_better ? value < other.value : value > other.value);
}

std::optional<BestCheckpoint> best_checkpoint(const std::string& dir, const std::string& metric,
                                              const FileHook& hook) {
  const CheckpointFiles files(hook);
  std::string wanted = metric;
  std::optional<BestCheckpoint> best;
  for (const CheckpointPlace& place : list_checkpoints(dir, hook)) {
    std::optional<CheckpointScore> score;
    try {
      score = read_manifest(place.path, files).score;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kCheckpoint) throw;
    }
    if (!score || !std::isfinite(score->value)) continue;
    if (wanted.empty()) wanted = score->metric;
    // From the newest on: an older one that is as good was there first.
    if (score->metric == wanted && (!best || !best->score.is_better_than(*score))) {
      best = {place.step, place.path, *score};
    }
  }
  return best;
}

std::vector<std::string> paths_of(const std::vector<CheckpointPlace>& places) {
  std::vector<std::string> paths;
  for (const CheckpointPlace& place : places)
    paths.push_back(place.path);
  return paths;
}

std::vector<std::string> checkpoints_at(const std::string& path) {
  const bool named = step_of(std::filesystem::path(path).filename().string()).has_value();
  if (named && std::filesystem::exists(path)) return {path};
  if (file_size(join(path, std::string(kManifestName)))) return {path};
  const std::filesystem::path asked(path);
  if (asked.filename() == kBestName) return {best_in(asked.parent_path().string())};
  const std::string of_run = join(path, "checkpoints");
  for (const std::string& dir : {of_run, path}) {
    std::vector<std::string> found = paths_of(list_checkpoints(dir));
    if (!found.empty()) return found;
  }
  throw Error(ErrorKind::kCheckpoint, fmt::format("no checkpoint in {} or in {}", path, of_run));
}

std::vector<std::string> remove_unfinished(const std::string& dir) {
  const CheckpointFiles files;
  for (const CheckpointPlace& place : list_checkpoints(dir)) {
    const std::string named = join(dir, step_name(place.step));
    if (place.path == named) continue;
    files.move(place.path, named);
    files.sync(dir);
  }
  std::vector<std::string> left;
  for (const std::string& name : names_in(dir)) {
    if (!is_left_over(name) && !replaced_step_of(name)) continue;
    std::error_code error;
    std::filesystem::remove_all(join(dir, name), error);
    if (error) left.push_back(name);
  }
  return left;
}

}  // namespace gradwire
