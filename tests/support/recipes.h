// Recipes of a language model for tests.
#pragma once

#include "jobs/job_list.h"
#include "jobs/language_model/recipe.h"

namespace gradwire {

inline Recipe lm_recipe() {
  return default_recipe("language_model");
}
inline LanguageModelRecipe& lm(Recipe& r) {
  return language_model_of(r);
}
inline const LanguageModelRecipe& lm(const Recipe& r) {
  return language_model_of(r);
}

}  // namespace gradwire
