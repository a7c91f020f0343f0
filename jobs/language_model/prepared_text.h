// Text made into tokens on every host of a run, once on each.
#pragma once

#include <optional>
#include <string>

#include "data/prepare.h"

#include "jobs/job.h"

namespace gradwire {

// Rank 0 prepares the text; the first rank of every other host takes what rank 0 has made if they
// share the folder, else prepares too; all others look. So texts are read once, not once for every
// rank. `tokenizer` is a model to use instead of the config's, or empty; rank 0's counts. Nothing
// if a stop is requested on any rank before the text is there; the ranks that prepare ask
// meanwhile. Errors: kData if the text of a host is not rank 0's. Collective.
std::optional<PreparedText> prepare_on_all_hosts(JobHost& host, PrepareConfig config,
                                                 const std::string& tokenizer,
                                                 const Preparation& how);

// Compares what the ranks have of tokenizer and tokens. Collective. Errors: DifferentRuns; those of
// reading the files, on every rank.
void check_same_data(Coordinator& ranks, const PreparedText& prepared);

}  // namespace gradwire
