// File descriptors of this process: every connection to a peer takes one, and what a shell grants
// by default (1024, as a rule) ends at some 500 ranks over TCP.
#pragma once

#include <cstdint>
#include <string>

namespace gradwire {

// Raises the soft limit (RLIMIT_NOFILE) to the hard one, as every process may. Nothing happens
// if that is refused.
void raise_descriptor_limit() noexcept;

// That `more` descriptors can be opened beside those in use and some for files. `who` needs them:
// "tcp: 600 ranks". Errors: kIo, with the limit, the number needed and the command that mends it.
void check_descriptors(std::int64_t more, const std::string& who);

// Ranks, this one included, that a process may be connected to under the hard limit, with
// `connections` to each beside one for control.
std::int64_t most_ranks_by_descriptors(int connections);

}  // namespace gradwire
