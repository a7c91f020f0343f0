#include <cstdio>
#include <exception>

#include "core/error.h"
#include "launch/cli.h"
#include "launch/console.h"
#include "launch/standard_streams.h"

namespace gradwire {

int run_program(int argc, const char* const* argv) {
  guard_standard_streams();
  RankEnvironment env;
  try {
    env = read_rank_environment();
    const ExitCode code = parse_command_line(argc, argv)();
    // Unwritten output would otherwise be lost in silence, after the status is settled.
    check(std::fflush(stdout) == 0, ErrorKind::kIo, "standard output cannot be written");
    return static_cast<int>(code);
  } catch (const std::exception& e) {
    const std::string text = failure_text(e, env);
    if (!text.empty()) console().say(text);
    return static_cast<int>(exit_code_of(e));
  }
}

}  // namespace gradwire
