// How many CPU threads each rank computes with.
#pragma once

#include <string>

#include "core/host_limits.h"
#include "launch/start/environment.h"
#include "train/coordinator.h"

namespace gradwire {

struct ThreadChoice {
  int count = 1;
  std::string source;   // what asked for this count by name; empty: a share of the processors
  std::string warning;  // empty: none
};

// What a rank may use of its host, and how many ranks it shares that with, itself among them.
struct CpuShare {
  CpuLimits limits;
  int on_set = 1;    // ranks bound to the same processors
  int on_quota = 1;  // ranks below the same quota
};

// `wanted` is train.threads and `omp_num_threads` the environment variable (null: not set): the
// first that is given decides. Otherwise the least of the rank's parts of the processors it is
// bound to, of its quota, and of all processors of the host. Errors: kUsage for more threads than
// any host has.
ThreadChoice choose_threads(const RankEnvironment& env, int wanted, const char* omp_num_threads,
                            const CpuShare& share);

// The same for this process; the ranks tell each other what each of them may use. Collective.
ThreadChoice choose_threads(const RankEnvironment& env, int wanted, Coordinator& ranks);

// For a command that runs alone: as one of so many ranks of a host like this one would.
ThreadChoice choose_threads_alone(int ranks_of_host, int wanted);

}  // namespace gradwire
