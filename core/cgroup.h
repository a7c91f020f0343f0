// The limits that control groups put on this process (cgroups(7)): version 1, version 2, or both at
// once, as systemd mounts them. Containers and Slurm limit processors and memory this way, and
// nothing else that a process can ask for shows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gradwire {

struct CgroupLimits {
  std::optional<double> cpus;  // processors' worth of time in each period; none: no limit
  std::string cpu_group;  // of the group that has this limit, different for every group of a host
  std::optional<std::int64_t> memory_bytes;
};

// The least limit of each kind among the process's group and all its ancestors that are mounted.
// What cannot be read or understood limits nothing. `root` comes before every path that is read:
// empty for this machine, a folder with such files for a test.
CgroupLimits cgroup_limits(const std::string& root = "");

}  // namespace gradwire
