// What every communicator must do, as plain functions of one rank's Communicator: run by LocalComm
// on threads and by MpiComm under mpiexec. Every value depends on rank and position, so that a
// permutation is seen; expectations are naive loops over the formula of the inputs.
#pragma once

#include <functional>
#include <vector>

#include "comm/communicator.h"

namespace gradwire::test {

struct ContractCase {
  const char* name;
  std::function<void(Communicator&)> run;
};
// The suite, without the cases that leave the world unusable.
std::vector<ContractCase> contract_cases();

// These end the world: the communicator can only be destroyed afterwards.
void contract_abort_reaches_waiting_ranks(Communicator& comm);
void contract_missing_rank_times_out(Communicator& comm);  // with a wait below a second
void contract_mismatch_is_reported(Communicator& comm);    // with a wait of some seconds at most
void contract_dropped_handle_fails_the_others(Communicator& comm);

}  // namespace gradwire::test
