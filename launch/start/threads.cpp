#include "launch/start/threads.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

#include "recipe/recipe.h"

namespace gradwire {
namespace {

int part(int whole, int ranks) {
  return std::max(1, whole / std::max(1, ranks));
}

// The first number of "4" or "4,2", which gives one for each level of nested loops; 0: none.
int first_count(const char* omp_num_threads) {
  if (omp_num_threads == nullptr) return 0;
  const long long count = std::max(0LL, std::strtoll(omp_num_threads, nullptr, 10));
  if (static_cast<double>(count) > kMostThreads) {
    throw Error(ErrorKind::kUsage, fmt::format("OMP_NUM_THREADS='{}': at most {} threads",
                                               omp_num_threads, kMostThreads));
  }
  return static_cast<int>(count);
}

// Of the quota, if there is one.
int part_of_quota(const CpuShare& share, int otherwise) {
  return share.limits.quota ? part(*share.limits.quota, share.on_quota) : otherwise;
}

std::string remedy(const RankEnvironment& env, int threads) {
  if (env.source == "Open MPI") {
    return fmt::format("mpirun --bind-to none gives each rank {} threads", threads);
  }
  if (env.source == "Slurm" || env.source == "PMIx") {
    return fmt::format("srun --cpus-per-task={} gives each rank its share", threads);
  }
  return fmt::format("without that each rank would have {} threads", threads);
}

std::string binding_warning(const RankEnvironment& env, const ThreadChoice& choice,
                            const CpuShare& share) {
  const int fair = part(share.limits.unbound, env.local_size);
  const int otherwise = std::min(fair, part_of_quota(share, fair));
  const bool one_is_meant = choice.count == 1 && !choice.source.empty();
  if (!env.launched() || share.limits.bound > 1 || otherwise == 1 || one_is_meant) return "";
  return fmt::format("{} bound rank {} to 1 of {} processors: {}", env.source, env.rank,
                     share.limits.unbound, remedy(env, otherwise));
}

// Tells this run of the system from all others; containers of one host agree on it.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

}  // namespace

ThreadChoice choose_threads(const RankEnvironment& env, int wanted, const char* omp_num_threads,
                            const CpuShare& share) {
  ThreadChoice choice;
  const CpuLimits& limits = share.limits;
  if (wanted > 0) {
    choice.count = wanted;
    choice.source = "train.threads";
  } else if (const int count = first_count(omp_num_threads); count > 0) {
    choice.count = count;
    choice.source = "OMP_NUM_THREADS";
  } else {
    const int bound = part(limits.bound, share.on_set);
    choice.count =
        std::min({bound, part_of_quota(share, bound), part(limits.online, env.local_size)});
  }
  choice.warning = binding_warning(env, choice, share);
  return choice;
}

ThreadChoice choose_threads(const RankEnvironment& env, int wanted, Coordinator& ranks) {
  CpuShare share{cpu_limits(), 0, 0};
  const std::string host = boot_id();
  const std::string set = host + ' ' + share.limits.set;
  const std::string group = host + ' ' + share.limits.quota_group;
  for (const std::string& text : ranks.all_gather(set + '\n' + group)) {
    const std::vector<std::string> lines = lines_of(text);
    share.on_set += lines.at(0) == set ? 1 : 0;
    share.on_quota += lines.at(1) == group ? 1 : 0;
  }
  return choose_threads(env, wanted, std::getenv("OMP_NUM_THREADS"), share);
}

ThreadChoice choose_threads_alone(int ranks_of_host, int wanted) {
  RankEnvironment env;
  env.local_size = ranks_of_host;
  const CpuShare share{cpu_limits(), ranks_of_host, ranks_of_host};
  return choose_threads(env, wanted, std::getenv("OMP_NUM_THREADS"), share);
}

}  // namespace gradwire
