#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include <mpi.h>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host_limits.h"
#include "launch/doctor/doctor.h"
#include "launch/start/libraries.h"

namespace gradwire {
namespace {

extern "C" char** environ;

// Set by mpirun for its children, as opposed to MPI settings of the user, which stay.
bool set_by_launcher(std::string_view name) {
  for (const char* mark : {"OMPI_MCA_ess", "OMPI_MCA_orte", "OMPI_MCA_pmix"}) {
    if (name.starts_with(mark)) return true;
  }
  for (const char* kept : {"OMPI_MCA_", "OMPI_ALLOW_"}) {
    if (name.starts_with(kept)) return false;
  }
  for (const char* mark : {"OMPI_", "PMIX_", "PMI_", "ORTE_", "SLURM_"}) {
    if (name.starts_with(mark)) return true;
  }
  return false;
}

// MPI then starts alone, also in a process of an MPI job.
void forget_launcher() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    if (set_by_launcher(name)) names.emplace_back(name);
  }
  for (const std::string& name : names)
    unsetenv(name.c_str());
}

[[noreturn]] void add_up_alone() {
  forget_launcher();
  int threads = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &threads);
  int size = 0;
  int one = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Finalize();
  ::_exit(one == size ? 0 : 1);
}

Finding starts_alone() {
  constexpr auto kLimit = std::chrono::seconds(20);
  constexpr auto kPause = std::chrono::milliseconds(20);
  const char* const what = "MPI starts";
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return {Verdict::kFail, what, "no process to try it in", "ulimit -u"};
  if (child == 0) add_up_alone();
  int status = 0;
  for (auto waited = kPause; waitpid(child, &status, WNOHANG) == 0; waited += kPause) {
    if (waited > kLimit) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return {Verdict::kFail, what, fmt::format("no answer in {} s", kLimit.count()),
              "look at the network interfaces below; try OMPI_MCA_btl=self,vader"};
    }
    std::this_thread::sleep_for(kPause);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {Verdict::kOk, what, "and adds up, alone", ""};
  }
  return {Verdict::kFail, what, "no: see the message above", "install Open MPI's runtime anew"};
}

// The first line of `mpirun --version`; empty if there is no mpirun.
std::string mpirun_version() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
      popen("mpirun --version 2>/dev/null", "r"), pclose);
  std::array<char, 256> line{};
  if (pipe == nullptr || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return "";
  const std::string_view text(line.data());
  return std::string(text.substr(0, text.find('\n')));
}

// "Open MPI v4.1.4" belongs to "mpirun (Open MPI) 4.1.4".
bool same_version(std::string_view library, std::string_view launcher) {
  const std::size_t v = library.rfind('v');
  return v != std::string_view::npos && launcher.ends_with(library.substr(v + 1));
}

Finding launcher() {
  const std::string version = mpirun_version();
  if (version.empty()) {
    return {Verdict::kWarn, "mpirun", "not in PATH",
            "install openmpi-bin, or start ranks with srun --mpi=pmix"};
  }
  if (!same_version(mpi_version(), version)) {
    return {Verdict::kFail, "mpirun", fmt::format("{}; built with {}", version, mpi_version()),
            "put the mpirun of the MPI that gradwire was built with first in PATH"};
  }
  return {Verdict::kOk, "mpirun", version, ""};
}

Finding run_as_root(const EnvironmentLookup& lookup) {
  const bool allowed = lookup("OMPI_ALLOW_RUN_AS_ROOT") != nullptr &&
                       lookup("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") != nullptr;
  if (geteuid() != 0) return {Verdict::kOk, "mpirun as root", "not root", ""};
  if (allowed) return {Verdict::kOk, "mpirun as root", "allowed", ""};
  return {Verdict::kWarn, "mpirun as root", "refused",
          "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
}

}  // namespace

Findings check_mpi(const EnvironmentLookup& lookup) {
  return {{Verdict::kOk, "MPI", mpi_version(), ""},
          starts_alone(),
          launcher(),
          run_as_root(lookup),
          {Verdict::kOk, "slots",
           fmt::format("about {} ranks; for more: mpirun --oversubscribe --bind-to none",
                       available_cpus()),
           ""}};
}

}  // namespace gradwire
