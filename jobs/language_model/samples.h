// Texts that a model writes, from text to text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "data/tokenizer.h"
#include "models/decoder_lm.h"
#include "parallel/pipeline/stages.h"

#include "jobs/language_model/recipe.h"

namespace gradwire {

// Each prompt followed by what the model makes of it, up to the end of a document. Collective over
// the ranks of a replica, `stages`; all get the texts.
std::vector<std::string> sample_texts(Context& cx, Communicator& stages, const Stages& plan,
                                      DecoderLm& model, const Tokenizer& tokenizer,
                                      const GenerateRecipe& settings, std::uint64_t seed,
                                      const Adaptation& adapted = {});

}  // namespace gradwire
