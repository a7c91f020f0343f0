// The ranks of this run: MPI where a launcher started several, else this process alone. When a peer
// dies, this process says which one and ends with exit code 6: whatever it waits for will not come.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_comm.h"
#include "comm/peer_watch.h"
#include "launch/environment.h"
#include "launch/recipe.h"

namespace gradwire {

class World {
 public:
  // Collective. Errors: kComm; kUsage where MPI counts other ranks than the launcher.
  World(Context& cx, const RankEnvironment& env, const CommRecipe& recipe);
  Communicator& comm() { return mpi_ ? mpi_->comm() : *alone_.front(); }

 private:
  std::unique_ptr<MpiWorld> mpi_;
  std::unique_ptr<PeerWatch> watch_;
  std::vector<std::unique_ptr<Communicator>> alone_;
};

}  // namespace gradwire
