// The world of a test binary that runs under mpiexec: MPI starts once in a process, so the main
// (tests/support/mpi_main.cpp) owns it and tests borrow it.
#pragma once

#include "comm/mpi/mpi_comm.h"

namespace gradwire::test {

MpiWorld*& mpi_world();

}  // namespace gradwire::test
