#include "launch/continuation.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "launch/language_model.h"
#include "launch/recipe_io.h"

namespace gradwire {
namespace {

using Keys = std::initializer_list<std::string_view>;

bool is_one_of(std::string_view key, Keys keys) {
  // "comm." stands for all keys of that section.
  return std::ranges::any_of(
      keys, [&](std::string_view k) { return k.ends_with('.') ? key.starts_with(k) : key == k; });
}

// Of a key of the run.
bool decides_training(std::string_view key) {
  return !is_one_of(
      key, {"generate.", "checkpoint.", "train.eval_every", "train.eval_batches", "train.log_every",
            "train.stall_timeout_s", "train.replica_check_every", "train.max_nonfinite"});
}

// The texts are of a host, but other texts make another run.
bool is_of_the_run(const std::string& key, KeyScope scope) {
  return scope == KeyScope::kRun || key == "data.text";
}

bool decides_model(std::string_view key) {
  return is_one_of(
      key, {"task", "model.layers", "model.width", "model.heads", "model.kv_heads",
            "model.ffn_width", "model.tie_embeddings", "data.vocab_size", "data.tokenizer_kind"});
}

// Defaults that depend on other keys, written out.
Recipe written_out(Recipe r) {
  r.model.kv_heads = r.model.resolved_kv_heads();
  r.model.ffn_width = r.model.resolved_ffn_width();
  return r;
}

std::string lines_about(const std::vector<RecipeChange>& changes) {
  std::vector<std::string> texts;
  for (const RecipeChange& c : changes)
    texts.push_back(fmt::format("{}: {} -> {}", c.key, c.was, c.is));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string_view consequence(std::string_view key) {
  if (is_one_of(key, {"data.split_seed", "data.validation_share"})) {
    return " (what is held out now may have been trained on before)";
  }
  if (is_one_of(key, {"seed"})) return " (order of the data, dropout and sampling change)";
  return "";
}

template <class Wanted>
std::vector<RecipeChange> changes_of(const Recipe& recipe, const std::string& saved,
                                     const Wanted& wanted) {
  const std::optional<Recipe> was = saved_recipe(saved);
  if (!was) return {};
  std::vector<RecipeChange> changes = recipe_changes(*was, recipe);
  std::erase_if(changes, [&](const RecipeChange& c) {
    return !is_of_the_run(c.key, c.scope) || !wanted(c.key);
  });
  return changes;
}

}  // namespace

std::vector<RecipeChange> recipe_changes(const Recipe& was, const Recipe& is) {
  const std::vector<SectionInfo> old_sections = describe(written_out(was));
  const std::vector<SectionInfo> new_sections = describe(written_out(is));
  std::vector<RecipeChange> changes;
  for (std::size_t s = 0; s < new_sections.size(); ++s) {
    for (std::size_t k = 0; k < new_sections[s].keys.size(); ++k) {
      const KeyInfo &before = old_sections[s].keys[k], &now = new_sections[s].keys[k];
      if (before.value != now.value) {
        changes.push_back({now.key, before.value, now.value, now.scope});
      }
    }
  }
  return changes;
}

std::string model_objection(const Recipe& recipe, const std::string& saved) {
  const std::vector<RecipeChange> changes = changes_of(recipe, saved, decides_model);
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
  const auto any = [](std::string_view) { return true; };
  for (const RecipeChange& c : changes_of(recipe, loaded.recipe, any)) {
    notes.push_back(fmt::format("changed since the checkpoint: {}: {} -> {}{}", c.key, c.was, c.is,
                                consequence(c.key)));
  }
  if (const std::optional<Recipe> was = saved_recipe(loaded.recipe)) {
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
      if (info.scope == KeyScope::kRun && decides_training(info.key))
        text += fmt::format("\n{} = {}", info.key, info.value);
  return to_hex(hash_of(text));
}

}  // namespace gradwire
