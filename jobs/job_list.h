// The jobs of this program, and recipes of them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "recipe/recipe_io.h"

namespace gradwire {

// The first is that of a recipe that names no task.
std::span<const JobKind> all_jobs();

// The functions of recipe/recipe_io.h for these jobs.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides = {});
std::optional<Recipe> saved_recipe(const std::string& text);
Recipe default_recipe(std::string_view task);

}  // namespace gradwire
