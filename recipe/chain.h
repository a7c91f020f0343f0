// For recipe/*.cpp only: the files of a recipe that extends others.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

namespace gradwire {

struct RecipeFile {
  std::string path;
  toml::table keys;  // without `extends`
};

// Why a text is not handed to the parser of TOML, or empty. The parser builds a table for every
// part of a dotted key and takes them down by recursion: a few hundred kilobytes would end the
// process.
std::string parser_objection(std::string_view text);

// The file at `path` and, if it says `extends = "base.toml"` above all sections, that file,
// and so on; the one that extends nothing comes first. A base lies relative to the file that names
// it. Throws RecipeError, with the line that names it, for a base that cannot be read, extends
// itself, or is the last of too many; and for a file that is no TOML, or too long for a recipe.
std::vector<RecipeFile> read_recipe_chain(const std::string& path);

}  // namespace gradwire
