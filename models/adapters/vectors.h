// Adapters of one vector for each site.
//
// IA3 (Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context
// learning", NeurIPS 2022) scales what a linear site gives, y = l * W x with l [out], or, at the
// last product of a feed-forward layer (its name ends in "down_proj"), what it reads:
// y = W (l * x) with l [in]. l starts at 1.
//
// BitFit (Ben Zaken et al., "BitFit: simple parameter-efficient fine-tuning for transformer-based
// masked language models", ACL 2022) trains biases alone: y = W x + b, b [out]. A model without
// biases gets them; they start at 0.
#pragma once

#include <memory>

#include "models/adapters/adapter.h"

namespace gradwire {

// Whether IA3 scales what a linear site reads, and not what it gives.
bool ia3_scales_input(const Site& site);
std::unique_ptr<Adapter> make_ia3(Context& cx, const Site& site, const std::string& name);
std::unique_ptr<Adapter> make_bitfit(Context& cx, const Site& site, const std::string& name);

}  // namespace gradwire
