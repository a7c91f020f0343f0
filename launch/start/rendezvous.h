// How the ranks of this run talk, and where those on TCP meet, from the recipe and what the
// launcher left in the environment. Nothing is ever guessed: a rank that meets nobody would train
// alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/tcp/tcp_comm.h"
#include "launch/start/environment.h"

#include "recipe/recipe.h"

namespace gradwire {

enum class Transport : std::uint8_t { kMpi, kTcp };
// comm.backend; "auto" is MPI below launchers that speak it (mpirun, PMIx), else TCP.
Transport transport_of(const RankEnvironment& env, const CommRecipe& recipe);

// Throws Error(kUsage) if backend "auto" means MPI and the MPI library, which `mpi` names, would
// end this process instead of joining the ranks: srun has other MPIs' way of starting them. Whoever
// says "mpi" in the recipe knows better.
void check_mpi_can_join(const RankEnvironment& env, const CommRecipe& recipe,
                        const EnvironmentLookup& lookup, std::string_view mpi);

struct Address {
  std::string host;
  std::uint16_t port = 0;
};
// "host", "host:port", "1.2.3.4:port", "[2001:db8::1]:port"; without a port, TcpOptions's. Throws
// Error(kUsage).
Address parse_address(std::string_view text);

// The hosts of Slurm's "node[01-03,7],login": node01, node02, node03, node7, login. Throws
// Error(kUsage) for what cannot be read, or names more than 65536 hosts.
std::vector<std::string> expand_host_list(std::string_view list);

// The address is the first that is known of: comm.address; GRADWIRE_ADDRESS (`gradwire launch`);
// MASTER_ADDR and MASTER_PORT (torchrun); loopback if all ranks share this host; the first host
// of the Slurm step. Throws Error(kUsage), asking for comm.address, if none is. The token is
// GRADWIRE_TOKEN, else the launcher's name for the job, which also picks the port if nothing
// else does; else, on loopback, the folder of the run, which all ranks of a host share and no other
// job. Elsewhere it is an error if there is none, of kind kUsage, on every rank.
TcpOptions find_rendezvous(const RankEnvironment& env, const CommRecipe& recipe,
                           const EnvironmentLookup& lookup, const std::string& run_dir);

}  // namespace gradwire
