// For recipe/*.cpp only: the files of a recipe that extends others.
#pragma once

#include <string>
#include <vector>

#include <toml++/toml.h>

namespace gradwire {

struct RecipeFile {
  std::string path;
  toml::table keys;  // without `extends`
};

// The file at `path` and, if it says `extends = "base.toml"` above all sections, that file,
// and so on; the one that extends nothing comes first. A base lies relative to the file that names
// it. Throws RecipeError, with the line that names it, for a base that cannot be read, extends
// itself, or is the last of too many; and for a file that is no TOML.
std::vector<RecipeFile> read_recipe_chain(const std::string& path);

}  // namespace gradwire
