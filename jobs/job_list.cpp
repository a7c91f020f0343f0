#include "jobs/job_list.h"

#include <array>

#include "jobs/language_model/recipe.h"

namespace gradwire {

std::span<const JobKind> all_jobs() {
  static constexpr std::array kJobs = {kLanguageModelJob};
  return kJobs;
}

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  return load_recipe(path, overrides, all_jobs());
}

std::optional<Recipe> saved_recipe(const std::string& text) {
  return saved_recipe(text, all_jobs());
}

Recipe default_recipe(std::string_view task) {
  return default_recipe(task, all_jobs());
}

}  // namespace gradwire
