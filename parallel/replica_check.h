// Whether replicas still hold the same parameters, bit for bit: what compression by error feedback
// rests on, and what a wrong reducer, a bad memory module or a host with another library breaks
// unnoticed. 8 bytes a rank; parameter by parameter only if ranks disagree.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.h"
#include "core/tape.h"

namespace gradwire {

// XXH3 over the names and the bytes of the values.
std::uint64_t hash_of(Context& cx, std::span<Parameter* const> params);

// Collective. Errors: kNumeric, the same on all ranks, naming the ranks that differ from most
// others and the first parameter in which they do.
void check_replicas(Context& cx, Communicator& comm, std::int64_t step,
                    std::span<Parameter* const> params);

}  // namespace gradwire
