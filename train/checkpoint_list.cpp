#include <algorithm>
#include <filesystem>

#include "train/checkpoint.h"

namespace gradwire {

std::vector<CheckpointPlace> list_checkpoints(const std::string& dir) {
  std::vector<CheckpointPlace> places;
  for (const std::string& name : names_in(dir)) {
    const std::optional<std::int64_t> step = step_of(name);
    if (step) places.push_back({*step, (std::filesystem::path(dir) / name).string()});
  }
  std::ranges::sort(places, [](const auto& a, const auto& b) { return a.step > b.step; });
  return places;
}

std::vector<std::string> paths_of(const std::vector<CheckpointPlace>& places) {
  std::vector<std::string> paths;
  for (const CheckpointPlace& place : places)
    paths.push_back(place.path);
  return paths;
}

std::vector<std::string> remove_unfinished(const std::string& dir) {
  std::vector<std::string> left;
  for (const std::string& name : names_in(dir)) {
    const std::size_t mark = name.find(kUnfinishedMark);
    const bool unfinished = mark != std::string::npos && step_of(name.substr(0, mark));
    if (!unfinished && !name.starts_with(kTrashPrefix)) continue;
    std::error_code error;
    std::filesystem::remove_all(std::filesystem::path(dir) / name, error);
    if (error) left.push_back(name);
  }
  return left;
}

}  // namespace gradwire
