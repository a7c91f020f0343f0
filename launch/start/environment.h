// Which rank this process is, as told by what started it: `gradwire launch`, torchrun, Open MPI's
// mpirun, MPICH or Intel MPI, PMIx, Slurm's srun. Known before MPI starts and without it; used for
// messages and for sharing out cores. Sources that disagree are an error, never a guess.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace gradwire {

struct RankEnvironment {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among the ranks of this host
  int local_size = 1;
  std::string source;       // "Open MPI", ...; empty: started by hand, the only rank
  std::string variables;    // that say so: "RANK=0, WORLD_SIZE=4"
  std::string to_unset;     // of them, those without which it would be the only rank: "RANK"
  bool speaks_mpi = false;  // what started it can also join the ranks by MPI

  bool launched() const { return !source.empty(); }
};

// Null if a variable is not set; std::getenv for the real environment.
using EnvironmentLookup = std::function<const char*(const char* name)>;

// Throws Error(kUsage) naming the variables for values that are not counts or missing, ranks
// outside their world, and sources that disagree.
RankEnvironment read_rank_environment(const EnvironmentLookup& lookup);
RankEnvironment read_rank_environment();

// For a process that waits for others: who says that there are any, and how it runs alone.
std::string to_text(const RankEnvironment& env);

// The variables of all launchers that say so: what must be unset for a process that another one
// starts.
std::vector<const char*> rank_variables();

// Throws Error(kUsage) if MPI itself counts other ranks than the launcher announced: each
// process then is alone with itself, because mpirun belongs to another MPI than the program.
void check_world(const RankEnvironment& env, int mpi_rank, int mpi_size);

}  // namespace gradwire
