#include "launch/program.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <thread>

#include "comm/descriptors.h"
#include "core/error.h"
#include "launch/cli/command_line.h"
#include "launch/start/console.h"
#include "launch/start/standard_streams.h"

namespace gradwire {

namespace {

// In which a launcher has ended the other ranks after rank 0 has left.
constexpr auto kForRank0 = std::chrono::seconds(5);

}  // namespace

int run_program(int argc, const char* const* argv, std::span<const JobKind> jobs) {
  guard_standard_streams();
  raise_descriptor_limit();
  RankEnvironment env;
  try {
    env = read_rank_environment();
    const ExitCode code = parse_command_line(argc, argv, jobs)();
    // Unwritten output would otherwise be lost in silence, after the status is settled.
    check(std::fflush(stdout) == 0, ErrorKind::kIo, "standard output cannot be written");
    return static_cast<int>(code);
  } catch (const std::exception& e) {
    const std::string text = failure_text(e, env);
    // If rank 0 has met the same, its launcher ends the others meanwhile, and it is said once.
    if (is_likely_said_by_rank_0(e, env)) {
      std::signal(SIGTERM, SIG_DFL);
      std::this_thread::sleep_for(kForRank0);
    }
    if (!text.empty()) console().say(text);
    return static_cast<int>(exit_code_of(e));
  }
}

}  // namespace gradwire
