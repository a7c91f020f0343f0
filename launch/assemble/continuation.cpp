#include "launch/assemble/continuation.h"

#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "launch/assemble/learner.h"

namespace gradwire {
namespace {

bool is_of_the_run(KeyScope scope) {
  return scope == KeyScope::kRun || scope == KeyScope::kHost;
}

// Defaults that depend on other keys, written out.
Recipe written_out(Recipe r) {
  if (r.job.sections() != nullptr) r.job.sections()->resolve_defaults();
  return r;
}

std::string lines_about(const std::vector<RecipeChange>& changes) {
  std::vector<std::string> texts;
  for (const RecipeChange& c : changes)
    texts.push_back(fmt::format("{}: {} -> {}", c.key.key, c.was, c.key.value));
  return fmt::format("{}", fmt::join(texts, ", "));
}

bool decides_training(KeyEffect effect) {
  return effect != KeyEffect::kNone;
}

template <class Wanted>
std::vector<RecipeChange> changes_of(const Recipe& recipe, const std::string& saved,
                                     const Wanted& wanted) {
  const std::optional<Recipe> was = saved_recipe(saved, recipe.job.known());
  if (!was) return {};
  std::vector<RecipeChange> changes = recipe_changes(*was, recipe);
  std::erase_if(changes, [&](const RecipeChange& c) {
    return !is_of_the_run(c.key.scope) || !wanted(c.key.effect);
  });
  return changes;
}

}  // namespace

std::vector<RecipeChange> recipe_changes(const Recipe& was, const Recipe& is) {
  std::map<std::string, std::string> before;
  for (const SectionInfo& section : describe(written_out(was)))
    for (const KeyInfo& key : section.keys)
      before[key.key] = key.value;
  std::vector<RecipeChange> changes;
  for (const SectionInfo& section : describe(written_out(is))) {
    for (const KeyInfo& key : section.keys) {
      const auto old = before.find(key.key);
      if (old == before.end() || old->second != key.value)
        changes.push_back({key, old == before.end() ? "not there" : old->second});
    }
  }
  return changes;
}

std::string model_objection(const Recipe& recipe, const std::string& saved) {
  const auto shapes_model = [](KeyEffect effect) { return effect == KeyEffect::kModel; };
  const std::vector<RecipeChange> changes = changes_of(recipe, saved, shapes_model);
  return changes.empty() ? "" : "of another model: " + lines_about(changes);
}

void check_continuation(const Recipe& recipe, const LoadResult& loaded) {
  if (loaded.step < recipe.train.steps) return;
  const std::vector<RecipeChange> changes = changes_of(recipe, loaded.recipe, decides_training);
  if (changes.empty()) return;
  throw Error(
      ErrorKind::kConfig,
      fmt::format("{}: step {} of a run of another recipe, and {} steps are wanted here: "
                  "nothing would be trained. It differs in {}. Give this recipe a run.dir of "
                  "its own, raise train.steps, go back with --resume CHECKPOINT, or start "
                  "over with --resume none",
                  loaded.path, loaded.step, recipe.train.steps, lines_about(changes)));
}

std::vector<std::string> continuation_notes(const Recipe& recipe, const LoadResult& loaded) {
  std::vector<std::string> notes;
  const auto any = [](KeyEffect) { return true; };
  for (const RecipeChange& c : changes_of(recipe, loaded.recipe, any)) {
    const std::string& means = c.key.if_changed;
    notes.push_back(fmt::format("changed since the checkpoint: {}: {} -> {}{}", c.key.key, c.was,
                                c.key.value, means.empty() ? "" : fmt::format(" ({})", means)));
  }
  if (const std::optional<Recipe> was = saved_recipe(loaded.recipe, recipe.job.known())) {
    const double before = lr_at(schedule_config(*was), loaded.step + 1);
    const double now = lr_at(schedule_config(recipe), loaded.step + 1);
    if (before != now) {
      notes.push_back(
          fmt::format("the learning rate of step {} is {:.3g}; by the recipe of the "
                      "checkpoint it would be {:.3g}",
                      loaded.step + 1, now, before));
    }
  }
  return notes;
}

std::string course_of(const Recipe& recipe, const std::string& data) {
  std::string text = data;
  for (const SectionInfo& section : describe(written_out(recipe)))
    for (const KeyInfo& info : section.keys)
      if (info.scope == KeyScope::kRun && decides_training(info.effect))
        text += fmt::format("\n{} = {}", info.key, info.value);
  return to_hex(hash_of(text));
}

}  // namespace gradwire
