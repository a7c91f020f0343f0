// Recipes that begin with a model of another program (`[model] from`).
#pragma once

#include "jobs/language_model/recipe.h"

namespace gradwire {

// Gives the keys that describe the model the values of the file or folder that `model.from` names,
// which must have all parameters of such a model and a vocabulary that it knows. A key that the
// recipe sets to something else is a problem that names both. Errors: kData and kIo as of
// ForeignDecoder and Tokenizer.
void take_sizes(LanguageModelRecipe& recipe, const Origins& origins, ProblemList& out);

}  // namespace gradwire
