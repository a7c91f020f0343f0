// What a run that goes on has in common with the run that saved its checkpoint: the recipe in the
// checkpoint beside the current one. Changes that can be meant are said; others are refused.
#pragma once

#include <string>
#include <vector>

#include "train/checkpoint/checkpoint.h"

#include "recipe/recipe_io.h"

namespace gradwire {

struct RecipeChange {
  KeyInfo key;      // with the value that it has now
  std::string was;  // as TOML writes it
};
// In the order of the keys. What stands for a default and the default are the same.
std::vector<RecipeChange> recipe_changes(const Recipe& was, const Recipe& is);

// Why the model of `recipe` is not the one of a checkpoint whose RunIdentity::recipe is `saved`:
// another shape, or another kind or size of vocabulary. Empty if it can be. Shapes of tensors alone
// do not say it: other heads of the same width have the same tensors.
std::string model_objection(const Recipe& recipe, const std::string& saved);

// Errors: kConfig if the run is finished and its recipe is not this one. Then `run.dir` is most
// likely the wrong one, and to call the work done would be wrong in any case.
void check_continuation(const Recipe& recipe, const LoadResult& loaded);

// A line for every key that has changed since the checkpoint, host-only keys aside, and one for
// what the learning rate makes of it.
std::vector<std::string> continuation_notes(const Recipe& recipe, const LoadResult& loaded);

// CheckpointPolicy::course, of the keys that decide what training computes. `data` names the text
// and the tokenizer, whose paths do not count.
std::string course_of(const Recipe& recipe, const std::string& data);

}  // namespace gradwire
