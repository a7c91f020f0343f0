// The section [adapters] of a recipe: small trainable parts on a frozen model. Any job may have it.
#pragma once

#include <string>

#include "models/adapters/adapter_set.h"
#include "models/module.h"
#include "train/coordinator.h"

#include "recipe/recipe.h"

namespace gradwire {

struct AdaptersRecipe {
  std::string method = "none";
  std::string base;
  StringList targets;
  StringList also_train;
  std::int64_t rank = 8;
  double alpha = 16.0;
  bool rslora = false;
  double dropout = 0.0;
  double scale = 0.0;
  std::string init = "default";

  bool is_used() const { return method != "none"; }
  AdapterConfig config() const;

  void fields(FieldVisitor& v);
  bool operator==(const AdaptersRecipe&) const = default;
};

// The rules between these keys. `base_is_known`: the recipe names the base elsewhere, and
// adapters.base may be left out.
void check_adapters(const AdaptersRecipe& adapters, Inputs inputs, bool base_is_known,
                    ProblemList& out);

// Checkpoints that the base's weights may come from, the first that can be used counts. Errors:
// kCheckpoint if there is none; kIo.
std::vector<std::string> base_checkpoints(const AdaptersRecipe& adapters);

// Gives the parameters of a model, or of this rank's stages of one, the values of the base, which
// must be a model of the same shapes and this identity (Job::model_identity()). Collective.
// Errors: kCheckpoint, naming what does not fit.
void load_base(Context& cx, const AdaptersRecipe& adapters, Module& model,
               const std::string& identity, Coordinator& ranks);

}  // namespace gradwire
