// Reading, checking, writing and documenting recipes (recipe/recipe.h), for any list of jobs. Those
// of this program are in jobs/job_list.h, which has shorter forms of these functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "recipe/problems.h"
#include "recipe/recipe.h"

namespace gradwire {

// Reads `path`, with the files that it extends below it, then the overrides in their order; a later
// one wins, key by key, and lists are replaced as a whole. The sections are those of the job that
// `task` names; the first of `jobs` if it names none. Placeholders in paths are replaced
// (recipe/paths.h). An override is `a.b=value` with a value as TOML writes it, or a bare word for a
// string; in messages its file is `<command line>` and its line the place among the overrides,
// from 1. Unknown and repeated keys, keys of other jobs, wrong types and values out of range are
// errors. Last, the job completes it (JobSections::complete()). Throws RecipeError, and what
// completing throws.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides,
                   std::span<const JobKind> jobs);

// What to_toml() wrote, also if this or an earlier version knows other keys: those that are not
// there have their defaults, those that are unknown are left out. Nothing if it is no TOML at all.
std::optional<Recipe> saved_recipe(const std::string& text, std::span<const JobKind> jobs);

// Every key at its default. Errors: kUsage if no job has this name.
Recipe default_recipe(std::string_view task, std::span<const JobKind> jobs);

// Values out of range, each on the line where its key was set.
std::vector<Problem> range_problems(const Recipe& r);

// Violations of the rules between keys that every job has, for a run of so many ranks. Only called
// on values that are in range.
void check_common_rules(const Recipe& r, int ranks, ProblemList& out);

// Complete, defaults written out: load_recipe() of it gives an equal recipe.
std::string to_toml(const Recipe& r);

struct KeyInfo {
  std::string key;     // "optim.lr"
  std::string type;    // "number"
  std::string limits;  // "> 0"; may be empty
  std::string value;   // as TOML writes it
  std::string doc;
  KeyScope scope = KeyScope::kRun;
  KeyEffect effect = KeyEffect::kTraining;
  std::string if_changed;
};
struct SectionInfo {
  std::string name;  // empty: the keys above all sections
  std::string doc;
  std::vector<KeyInfo> keys;
};
// Every key, in the order of the lists, with its value in `r`.
std::vector<SectionInfo> describe(const Recipe& r);
// The sections of a job alone, at their defaults.
std::vector<SectionInfo> describe(const JobKind& kind);
// docs/recipes.md.
std::string recipe_reference(std::span<const JobKind> jobs);

// The key or section that a wrong one was probably meant to be: near to it in the same section, or
// of the same name in another.
std::optional<std::string> nearest_key(std::string_view wrong, const StringList& known);

}  // namespace gradwire
