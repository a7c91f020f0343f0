// The run's claim on its folder, before anything in it is touched: no other run writes there
// (train/run_lease.h), all ranks see one and the same folder, and a checkpoint fits into it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/error.h"
#include "train/coordinator.h"
#include "train/run_lease.h"

namespace gradwire {

class RunFolder {
 public:
  // `say` is called on rank 0, also on another thread. `ranks` must outlive the call of take().
  RunFolder(Coordinator& ranks, std::string dir, std::function<void(const std::string&)> say);

  // Rank 0 takes the lease, which is given back when this object goes; then every rank looks for
  // it. False if `stop_requested` is true on any rank before that. If another takes the lease
  // over later, the process ends with 2. Collective. Errors, on every rank: kConfig if a run that
  // lives has the lease, or if ranks do not see it; kIo.
  bool take(const std::function<bool()>& stop_requested);

 private:
  bool wait_for_lease(const std::function<bool()>& stop_requested);
  [[noreturn]] void leave(const LeaseHolder& by) const;

  Coordinator& ranks_;
  std::string dir_;
  std::function<void(const std::string&)> say_;
  std::optional<RunLease> lease_;  // on rank 0
};

// How long a rank looks for a file that another host has made in this folder: some seconds if its
// file system is one of this host's disks or memory, else longer than network file systems believe
// their own caches.
std::chrono::milliseconds patience_for(const std::string& dir);

// That all ranks find the lease of rank 0 in what each of them takes for the folder of the run.
// Collective. Errors: kConfig on every rank, naming those that do not find it.
void check_shared(Coordinator& ranks, const std::string& dir, const std::string& nonce,
                  std::chrono::milliseconds patience);

// That so many bytes, the sum over the ranks, are free where the folder is. Collective. Errors:
// kIo.
void check_room(Coordinator& ranks, const std::string& dir, std::int64_t bytes_of_rank);

}  // namespace gradwire
