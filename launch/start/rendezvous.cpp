#include "launch/start/rendezvous.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>

#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/hash.h"

namespace gradwire {
namespace {

template <class T>
T parse_number(std::string_view what, std::string_view text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure == std::errc() && stop == end && !text.empty()) return value;
  throw Error(ErrorKind::kUsage, fmt::format("{}: '{}' is not a valid number", what, text));
}

std::string get(const EnvironmentLookup& lookup, const char* name) {
  const char* text = lookup(name);
  return text == nullptr ? "" : text;
}

// The launcher's name for this start of the job, the same on all ranks; empty: it has none.
std::string job_name(const EnvironmentLookup& lookup) {
  const auto joined = [&](std::initializer_list<const char*> names) {
    std::string all;
    for (const char* name : names)
      all += get(lookup, name) + ".";
    return all;
  };
  if (lookup("TORCHELASTIC_RUN_ID") != nullptr) {
    return joined({"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT"});
  }
  if (lookup("PMIX_NAMESPACE") != nullptr) return get(lookup, "PMIX_NAMESPACE");
  if (lookup("SLURM_JOB_ID") != nullptr) {
    return joined({"SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"});
  }
  return "";
}

// Below the ports that systems hand out by themselves.
std::uint16_t port_of_job(const std::string& job) {
  if (job.empty()) return TcpOptions{}.port;
  constexpr std::uint64_t kFirst = 20000, kPorts = 9000;
  return static_cast<std::uint16_t>(kFirst + hash_of(job) % kPorts);
}

// Of MASTER_ADDR, and of MASTER_PORT if no port is given. An empty name would be this host, on
// every rank its own.
Address master_address(const EnvironmentLookup& lookup, std::optional<std::uint16_t> port) {
  const std::string host = get(lookup, "MASTER_ADDR");
  if (host.find_first_not_of(" \t") == std::string::npos) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("MASTER_ADDR='{}': expected the host of rank 0, or no such variable", host));
  }
  if (port) return {host, *port};
  const std::string text = get(lookup, "MASTER_PORT");
  std::uint16_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc() || stop != end || number == 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("MASTER_PORT='{}': expected a port from 1 to 65535", text));
  }
  return {host, number};
}

Address meeting_place(const RankEnvironment& env, const CommRecipe& recipe,
                      const EnvironmentLookup& lookup) {
  if (!recipe.address.empty()) return parse_address(recipe.address);
  if (lookup("GRADWIRE_ADDRESS") != nullptr) return parse_address(get(lookup, "GRADWIRE_ADDRESS"));
  const std::uint16_t port = port_of_job(job_name(lookup));
  if (lookup("MASTER_ADDR") != nullptr) {
    // Below torchrun, its own store listens at MASTER_PORT.
    const bool taken = lookup("TORCHELASTIC_RUN_ID") != nullptr || lookup("MASTER_PORT") == nullptr;
    return master_address(lookup, taken ? std::optional(port) : std::nullopt);
  }
  if (env.local_size == env.size) return {"127.0.0.1", port};
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    if (lookup(name) != nullptr) return {expand_host_list(get(lookup, name)).front(), port};
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("{} does not say where rank 0 can be reached: set comm.address to its "
                          "HOST:PORT",
                          env.source));
}

bool is_loopback(const std::string& host) {
  boost::system::error_code not_numeric;
  const auto numeric = boost::asio::ip::make_address(host, not_numeric);
  return host == "localhost" || (!not_numeric && numeric.is_loopback());
}

std::string name_of_folder(const std::string& dir) {
  std::error_code unknown;
  const std::filesystem::path whole =
      std::filesystem::weakly_canonical(std::filesystem::absolute(dir), unknown);
  return fmt::format("{} {}", ::getuid(), unknown ? dir : whole.string());
}

}  // namespace

Transport transport_of(const RankEnvironment& env, const CommRecipe& recipe) {
  if (recipe.backend != "auto") return recipe.backend == "mpi" ? Transport::kMpi : Transport::kTcp;
  return env.speaks_mpi ? Transport::kMpi : Transport::kTcp;
}

void check_mpi_can_join(const RankEnvironment& env, const CommRecipe& recipe,
                        const EnvironmentLookup& lookup, std::string_view mpi) {
  const bool by_srun = lookup("SLURM_STEP_ID") != nullptr && lookup("PMI_RANK") != nullptr;
  if (recipe.backend != "auto" || !by_srun || env.source != "MPICH or Intel MPI") return;
  if (!mpi.starts_with("Open MPI")) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("srun started this process with PMI (PMI_RANK={}; MpiDefault=pmi2 or "
                  "--mpi=pmi2), which {} does not speak: use srun --mpi=pmix, or the ranks' "
                  "own connections with --set comm.backend=tcp",
                  get(lookup, "PMI_RANK"), mpi));
}

Address parse_address(std::string_view text) {
  const std::string_view all = text;
  const auto refuse = [&] [[noreturn]] () {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("'{}' is no address: write it like host:29400 or [2001:db8::1]:29400", all));
  };
  Address address{"", TcpOptions{}.port};
  const bool brackets = text.starts_with('[');
  const std::size_t end = brackets ? text.find(']') : std::min(text.find(':'), text.size());
  if (end == std::string_view::npos) refuse();
  address.host = text.substr(brackets ? 1 : 0, brackets ? end - 1 : end);
  text.remove_prefix(brackets ? end + 1 : end);
  if (address.host.empty() || (!text.empty() && text.front() != ':')) refuse();
  if (text.empty()) return address;
  text.remove_prefix(1);
  if (text.find(':') != std::string_view::npos) refuse();  // an IPv6 address without brackets
  address.port = parse_number<std::uint16_t>(fmt::format("'{}'", all), text);
  if (address.port == 0) refuse();
  return address;
}

TcpOptions find_rendezvous(const RankEnvironment& env, const CommRecipe& recipe,
                           const EnvironmentLookup& lookup, const std::string& run_dir) {
  const Address place = meeting_place(env, recipe, lookup);
  TcpOptions options;
  options.rank = env.rank;
  options.size = env.size;
  options.addresses = {place.host};
  options.port = place.port;
  options.timeout = std::chrono::seconds(recipe.timeout_s);
  options.connections = static_cast<int>(recipe.connections);
  const bool launched_here = lookup("GRADWIRE_LISTENER") != nullptr && recipe.address.empty();
  if (env.rank == 0 && launched_here) {
    options.listener = parse_number<int>("GRADWIRE_LISTENER", get(lookup, "GRADWIRE_LISTENER"));
  }
  options.one_host = env.local_size == env.size;
  options.token = lookup("GRADWIRE_TOKEN") ? get(lookup, "GRADWIRE_TOKEN") : job_name(lookup);
  if (options.token.empty() && is_loopback(place.host)) options.token = name_of_folder(run_dir);
  if (options.token.empty() && env.size > 1) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("ranks would meet at {} without a token: whoever reaches that port could "
                    "join in. Set GRADWIRE_TOKEN to the same random text on all ranks; "
                    "`gradwire launch` and examples/slurm.sbatch make one",
                    place.host));
  }
  return options;
}

}  // namespace gradwire
