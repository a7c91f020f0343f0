// The weakest language model there is, as a floor: what a trained model must beat to have learnt
// anything beyond how often each token occurs.
#pragma once

#include "data/token_file.h"

namespace gradwire {

// Perplexity exp(-mean log p) of the validation tokens, where p(v) = (count(v) + 1) / (N + V) over
// the N training tokens (add-one smoothing; Jurafsky and Martin, "Speech and Language Processing",
// chapter 3). Errors: kData if the vocabularies differ or there are no validation tokens.
double unigram_perplexity(const TokenFile& train, const TokenFile& valid);

}  // namespace gradwire
