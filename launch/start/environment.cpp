#include "launch/start/environment.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

// The variables of one launcher; null if it has none.
struct Launcher {
  const char* name;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
  bool speaks_mpi;
};

// srun's variables are last: below mpirun they describe the daemon that mpirun placed on the host.
constexpr std::array kLaunchers = {
    Launcher{"gradwire launch", "GRADWIRE_RANK", "GRADWIRE_SIZE", "GRADWIRE_LOCAL_RANK",
             "GRADWIRE_LOCAL_SIZE", false},
    Launcher{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", false},
    Launcher{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
             "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", true},
    Launcher{"MPICH or Intel MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS",
             true},
    Launcher{"PMIx", "PMIX_RANK", nullptr, nullptr, nullptr, true},
    Launcher{"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr, false},
};

struct Claim {
  const Launcher* by = nullptr;
  int rank = 0;
  std::optional<int> size, local_rank, local_size;
};

int parse_count(const char* name, std::string_view text) {
  int value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value < 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{}='{}': expected a count", name, text));
  }
  return value;
}

std::optional<int> count(const EnvironmentLookup& lookup, const char* name) {
  const char* text = name == nullptr ? nullptr : lookup(name);
  if (text == nullptr) return std::nullopt;
  return parse_count(name, text);
}

bool is_set(const EnvironmentLookup& lookup, const char* name) {
  const char* text = name == nullptr ? nullptr : lookup(name);
  return text != nullptr && *text != '\0';
}

// Slurm's list of tasks on each host, such as "2(x3),1": the count on host number `node`.
std::optional<int> tasks_on_node(const char* name, std::string_view list, int node) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    const std::size_t times = item.find("(x");
    const int tasks = parse_count(name, item.substr(0, times));
    int hosts = 1;
    if (times != std::string_view::npos) {
      const std::string_view digits = item.substr(times + 2);
      hosts = parse_count(name, digits.substr(0, digits.find(')')));
    }
    if (node < hosts) return tasks;
    node -= hosts;
  }
  return std::nullopt;
}

std::optional<int> slurm_local_size(const EnvironmentLookup& lookup) {
  const auto node = count(lookup, "SLURM_NODEID");
  if (!node) return std::nullopt;
  for (const char* name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    if (const char* list = lookup(name)) return tasks_on_node(name, list, *node);
  }
  return std::nullopt;
}

bool is_slurm(const Launcher& by) {
  return std::string_view(by.name) == "Slurm";
}

// Whether srun started this process as a task of a step. A batch script has SLURM_PROCID=0 without
// being one; so has the shell that salloc starts in a step of its own, which counts the tasks of
// the whole job.
bool is_slurm_task(const EnvironmentLookup& lookup) {
  constexpr std::uint32_t kFirstSpecial = 0xfffffff0;  // slurm.h: SLURM_INTERACTIVE_STEP and others
  const char* text = lookup("SLURM_STEP_ID");
  if (text == nullptr || lookup("OMPI_COMM_WORLD_RANK") != nullptr) return false;
  std::uint32_t step = 0;
  std::from_chars(text, text + std::string_view(text).size(), step);
  return step < kFirstSpecial;
}

// Whether its variables are there at all. RANK alone is too common a name to mean torchrun.
bool speaks(const Launcher& by, const EnvironmentLookup& lookup) {
  if (is_slurm(by)) return is_slurm_task(lookup) && is_set(lookup, by.rank);
  if (by.size == nullptr) return is_set(lookup, by.rank);
  const bool size_is_there = lookup(by.size) != nullptr;
  return is_set(lookup, by.size) || (size_is_there && is_set(lookup, by.rank));
}

std::optional<Claim> claim_of(const Launcher& by, const EnvironmentLookup& lookup) {
  if (!speaks(by, lookup)) return std::nullopt;
  const auto rank = count(lookup, by.rank);
  // Of several steps of a job, each has its own number of tasks.
  const auto own = is_slurm(by) ? count(lookup, "SLURM_STEP_NUM_TASKS") : std::nullopt;
  const auto size = own ? own : count(lookup, by.size);
  if (!rank) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}={}, but {} is not set: which of them is this process? Set it, or "
                            "unset {}",
                            by.size, *size, by.rank, by.size));
  }
  if (size && *rank >= *size) {
    throw Error(ErrorKind::kUsage, fmt::format("{}={} is not below {}={}", by.rank, *rank,
                                               own ? "SLURM_STEP_NUM_TASKS" : by.size, *size));
  }
  Claim claim{&by, *rank, size, count(lookup, by.local_rank), count(lookup, by.local_size)};
  if (is_slurm(by)) claim.local_size = slurm_local_size(lookup);
  return claim;
}

// "RANK=0, WORLD_SIZE=4" of what is set.
std::string values_of(const Launcher& by, const EnvironmentLookup& lookup) {
  const char* step = is_slurm(by) ? "SLURM_STEP_ID" : nullptr;
  const char* tasks = is_slurm(by) ? "SLURM_STEP_NUM_TASKS" : nullptr;
  std::string all;
  for (const char* name : {step, by.rank, tasks, by.size}) {
    if (!is_set(lookup, name)) continue;
    all += fmt::format("{}{}={}", all.empty() ? "" : ", ", name, lookup(name));
  }
  return all;
}

std::string to_text(const Claim& c) {
  const std::string size = c.size ? fmt::format(" of {}", *c.size) : "";
  return fmt::format("{} ({}={}) says rank {}{}", c.by->name, c.by->rank, c.rank, c.rank, size);
}

void check_agreement(const Claim& a, const Claim& b) {
  const bool sizes_differ = a.size && b.size && *a.size != *b.size;
  if (a.rank == b.rank && !sizes_differ) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}, but {}: unset the variables of the one that did not start this "
                          "process",
                          to_text(a), to_text(b)));
}

// What the first launcher that knows it says.
int first_known(const std::vector<Claim>& claims, std::optional<int> Claim::*field, int otherwise) {
  for (const Claim& claim : claims) {
    if (claim.*field) return *(claim.*field);
  }
  return otherwise;
}

}  // namespace

RankEnvironment read_rank_environment(const EnvironmentLookup& lookup) {
  std::vector<Claim> claims;
  for (const Launcher& launcher : kLaunchers) {
    if (const auto claim = claim_of(launcher, lookup)) claims.push_back(*claim);
  }
  RankEnvironment env;
  if (claims.empty()) return env;
  for (const Claim& claim : claims)
    check_agreement(claims.front(), claim);
  env.rank = claims.front().rank;
  env.size = first_known(claims, &Claim::size, env.rank + 1);
  env.local_rank = first_known(claims, &Claim::local_rank, 0);
  env.local_size = std::max(first_known(claims, &Claim::local_size, 1), env.local_rank + 1);
  const Launcher& by = *claims.front().by;
  env.source = by.name;
  env.variables = values_of(by, lookup);
  env.to_unset = is_slurm(by) ? "SLURM_STEP_ID" : by.size != nullptr ? by.size : by.rank;
  env.speaks_mpi = by.speaks_mpi;
  return env;
}

RankEnvironment read_rank_environment() {
  return read_rank_environment([](const char* name) { return std::getenv(name); });
}

std::string to_text(const RankEnvironment& env) {
  if (!env.launched()) return "the only rank";
  return fmt::format("rank {} of {}, as {} says ({}); to run alone: env -u {} gradwire ...",
                     env.rank, env.size, env.source, env.variables, env.to_unset);
}

std::vector<const char*> rank_variables() {
  std::vector<const char*> names;
  for (const Launcher& l : kLaunchers) {
    for (const char* name : {l.rank, l.size, l.local_rank, l.local_size}) {
      if (name != nullptr) names.push_back(name);
    }
  }
  return names;
}

void check_world(const RankEnvironment& env, int mpi_rank, int mpi_size) {
  if (!env.launched() || (env.rank == mpi_rank && env.size == mpi_size)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} started this process as rank {} of {}, but MPI counts rank {} of {}: "
                          "use the mpirun of the MPI that gradwire was built with (`gradwire "
                          "--version` names it)",
                          env.source, env.rank, env.size, mpi_rank, mpi_size));
}

}  // namespace gradwire
