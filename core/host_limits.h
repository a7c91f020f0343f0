// How much of this machine the process may use: its processors and its memory, as the system and
// its control groups (core/cgroup.h) limit them. What the machine has is of no use for deciding how
// many threads to start or what fits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gradwire {

struct CpuLimits {
  int online = 1;   // processors of the machine
  int bound = 1;    // that the calling thread may run on
  int unbound = 1;  // that it might run on if nobody had bound it to fewer than its cpuset has
  std::string set;  // the bound ones, the same text for the same processors
  std::optional<int> quota;  // processors' worth of time, rounded up; none: no limit
  std::string quota_group;   // names the control group with this quota
};
CpuLimits cpu_limits();

// How many threads of computation this process can make use of: the processors that it is bound to,
// or its quota if that is less.
int available_cpus();

// Main memory, or what the process's control groups allow of it.
std::int64_t available_memory_bytes();

}  // namespace gradwire
