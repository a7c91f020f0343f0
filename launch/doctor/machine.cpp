#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "comm/descriptors.h"
#include "core/host_limits.h"
#include "core/simd.h"
#include "launch/doctor/doctor.h"
#include "launch/start/threads.h"

namespace gradwire {
namespace {

double free_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string word; meminfo >> word;) {
    double kib = 0.0;
    if (word == "MemAvailable:" && meminfo >> kib) return kib * 1024.0;
  }
  return 0.0;
}

std::string cores_text(const CpuLimits& limits) {
  std::string text = fmt::format("{} usable of {}", available_cpus(), limits.online);
  if (limits.quota) text += fmt::format(" (control groups give the time of {})", *limits.quota);
  return text;
}

std::string limit_text(rlim_t limit, double unit, const char* name) {
  if (limit == RLIM_INFINITY) return "unlimited";
  return fmt::format("{:.0f}{}", static_cast<double>(limit) / unit, name);
}

// A run raises the soft limit to the hard one, which is what counts.
Finding open_files() {
  constexpr std::int64_t kManyRanks = 1000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const std::int64_t ranks = most_ranks_by_descriptors(1);
  Finding f{Verdict::kOk, "open files", limit_text(files.rlim_max, 1.0, ""), ""};
  if (ranks < kManyRanks) {
    f.verdict = Verdict::kWarn;
    f.found += fmt::format(", for {} ranks over TCP", ranks);
    f.fix = fmt::format(
        "for {} ranks `ulimit -Hn {}`: every rank holds two connections to each "
        "other one",
        kManyRanks, 2 * kManyRanks + 100);
  }
  return f;
}

Finding shared_memory() {
  constexpr double kEnoughBytes = 512e6;
  struct statvfs shm {};
  if (statvfs("/dev/shm", &shm) != 0) {
    return {Verdict::kWarn, "/dev/shm", "not there",
            "mount a tmpfs on it: ranks of one host, and NCCL, talk through it"};
  }
  const double free = static_cast<double>(shm.f_bavail) * static_cast<double>(shm.f_frsize);
  if (free >= kEnoughBytes) return {Verdict::kOk, "/dev/shm", gigabytes(free) + " free", ""};
  return {
      Verdict::kWarn, "/dev/shm", gigabytes(free) + " free",
      "make it larger (docker run --shm-size=2g): ranks of one host, and NCCL, talk through it"};
}

}  // namespace

std::string gigabytes(double bytes) {
  return fmt::format("{:.1f} GB", bytes / 1e9);
}

Findings check_processor() {
  Findings out;
  const Isa isa = detect_isa();
  out.push_back({Verdict::kOk, "instructions", fmt::format("kernels for {}", name_of(isa)), ""});
  if (isa == Isa::kV2) {
    out.back().verdict = Verdict::kWarn;
    out.back().fix = "slow without AVX2: another machine, or unset GRADWIRE_ISA";
  }
  const CpuLimits limits = cpu_limits();
  const int cores = available_cpus();
  const ThreadChoice threads = choose_threads_alone(1, 0);
  out.push_back({Verdict::kOk, "cores",
                 fmt::format("{}, {} threads{}", cores_text(limits), threads.count,
                             threads.source.empty() ? "" : " by " + threads.source),
                 ""});
  if (threads.count > cores) {
    out.back().verdict = Verdict::kWarn;
    out.back().fix = fmt::format("unset {}, or set it to {}", threads.source, cores);
  }
  return out;
}

Findings check_memory() {
  constexpr double kLittleBytes = 1e9;
  const double free = free_bytes(), allowed = static_cast<double>(available_memory_bytes());
  const double available = std::min(free, allowed);
  Finding memory{Verdict::kOk, "memory", gigabytes(available) + " available", ""};
  if (allowed < free) memory.found += ", as control groups limit it";
  if (available < kLittleBytes) {
    memory.verdict = Verdict::kWarn;
    memory.fix = "end other programs, or train a smaller model";
  }
  rlimit locked{};
  getrlimit(RLIMIT_MEMLOCK, &locked);
  return {memory,
          shared_memory(),
          open_files(),
          {Verdict::kOk, "locked memory", limit_text(locked.rlim_cur, 1024.0, " KiB"), ""}};
}

}  // namespace gradwire
