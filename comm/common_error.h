// Errors that every rank finds in the result of the same collective, and that all of them throw.
#pragma once

#include "comm/communicator.h"

namespace gradwire {

// Returns once every rank of `comm` has called it, or as soon as one is lost. To be called before
// a rank throws what all ranks throw: without it the news that the first of them has left could
// overtake the last message of the collective on its way to another, which would then end as if a
// peer had been lost. Collective.
void wait_before_common_error(Communicator& comm) noexcept;

}  // namespace gradwire
