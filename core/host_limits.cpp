#include "core/host_limits.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "core/cgroup.h"

namespace gradwire {
namespace {

// A set of processors of any machine: cpu_set_t itself ends at 1024.
class CpuSet {
 public:
  // Of the calling thread; empty if the system does not say.
  static CpuSet of_thread() {
    constexpr std::size_t kMost = 1024;  // times cpu_set_t: a million processors
    for (std::size_t n = 1; n <= kMost; n *= 2) {
      CpuSet set(n);
      if (sched_getaffinity(0, set.bytes(), set.words_.data()) == 0) return set;
    }
    return CpuSet(0);
  }
  static CpuSet all_of(std::size_t size) {
    CpuSet set(size);
    for (int cpu = 0; cpu < set.most(); ++cpu)
      CPU_SET_S(static_cast<std::size_t>(cpu), set.bytes(), set.words_.data());
    return set;
  }

  bool bind_thread() const { return sched_setaffinity(0, bytes(), words_.data()) == 0; }
  std::size_t size() const { return words_.size(); }
  int count() const { return CPU_COUNT_S(bytes(), words_.data()); }
  std::string text() const {
    std::string out;
    for (int cpu = 0; cpu < most(); ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes(), words_.data())) {
        out += fmt::format("{},", cpu);
      }
    }
    return out;
  }

 private:
  explicit CpuSet(std::size_t n) : words_(n) {}
  std::size_t bytes() const { return words_.size() * sizeof(cpu_set_t); }
  int most() const { return static_cast<int>(8 * bytes()); }
  std::vector<cpu_set_t> words_;
};

// The system takes out of what is asked for what the cpuset forbids, and says what is left.
int count_unbound(const CpuSet& bound) {
  if (!CpuSet::all_of(bound.size()).bind_thread()) return bound.count();
  const int count = CpuSet::of_thread().count();
  bound.bind_thread();
  return count;
}

}  // namespace

CpuLimits cpu_limits() {
  CpuLimits limits;
  limits.online = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const CpuSet bound = CpuSet::of_thread();
  const bool known = bound.count() > 0;
  limits.bound = known ? bound.count() : limits.online;
  limits.unbound = known ? count_unbound(bound) : limits.online;
  limits.set = bound.text();
  const CgroupLimits groups = cgroup_limits();
  if (groups.cpus) limits.quota = std::max(1, static_cast<int>(std::ceil(*groups.cpus)));
  limits.quota_group = groups.cpu_group;
  return limits;
}

int available_cpus() {
  const CpuLimits limits = cpu_limits();
  return std::min(limits.bound, limits.quota.value_or(limits.bound));
}

std::int64_t available_memory_bytes() {
  const std::int64_t machine =
      static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return std::min(machine, cgroup_limits().memory_bytes.value_or(machine));
}

}  // namespace gradwire
