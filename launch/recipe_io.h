// Reading, checking, writing and documenting recipes (launch/recipe.h). All problems of a recipe
// are reported at once, each as `file:line: key: message (did you mean 'x'?)`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "launch/recipe.h"

namespace gradwire {

struct Problem {
  std::string file;
  std::uint32_t line = 0;  // 0: the key is not in the file
  std::string key;         // empty: the file as a whole
  std::string message;
  bool of_this_host = false;  // e.g. a missing file: other hosts may not have the problem
};
std::string to_text(const Problem& p);

// Error(kConfig) whose message lists every problem.
class RecipeError : public Error {
 public:
  explicit RecipeError(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const noexcept { return problems_; }
  // Whether every rank that reads the same recipe meets the same problems.
  bool same_everywhere() const noexcept;

 private:
  std::vector<Problem> problems_;
};

// Reads `path`, with the files that it extends below it, then the overrides in their order; a later
// one wins, key by key, and lists are replaced as a whole. Placeholders in paths are replaced
// (launch/recipe_paths.h). An override is `a.b=value`
// with a value as TOML writes it, or a bare word for a string; in messages its file is
// `<command line>` and its line the place among the overrides, from 1. Unknown and repeated keys,
// wrong types and values out of range are errors. Throws RecipeError.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides = {});

// What to_toml() wrote, also if this or an earlier version knows other keys: those that are not
// there have their defaults, those that are unknown are left out. Nothing if it is no TOML at all.
std::optional<Recipe> saved_recipe(const std::string& text);

// Values out of range, each on the line where its key was set.
std::vector<Problem> range_problems(const Recipe& r);

// Ranges, the rules between keys, and what must exist on this host before the run starts. Each
// problem names the line of the key to blame. Throws RecipeError.
void validate(const Recipe& r, int world_size);

// The same for what trains nothing: the files of data.text need not be there.
void validate_without_text(const Recipe& r, int world_size);

// Complete, defaults written out: load_recipe() of it gives an equal recipe.
std::string to_toml(const Recipe& r);

struct KeyInfo {
  std::string key;     // "optim.lr"
  std::string type;    // "number"
  std::string limits;  // "> 0"; may be empty
  std::string value;   // as TOML writes it
  std::string doc;
  KeyScope scope = KeyScope::kRun;
};
struct SectionInfo {
  std::string name;  // empty: the keys above all sections
  std::string doc;
  std::vector<KeyInfo> keys;
};
// Every key, in the order of the lists, with its value in `r`.
std::vector<SectionInfo> describe(const Recipe& r);
// docs/recipes.md.
std::string recipe_reference();

// The key or section that a wrong one was probably meant to be: near to it in the same section, or
// of the same name in another.
std::optional<std::string> nearest_key(std::string_view wrong, const StringList& known);

}  // namespace gradwire
