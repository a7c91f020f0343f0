// The command line. parse_command_line() turns it into one action; nothing is done before all of it
// was understood. CLI11 stays behind cli*.cpp, with one file per group of commands.
#pragma once

#include <functional>
#include <string>

#include "launch/exit_code.h"

namespace CLI {
class App;
}

namespace gradwire {

using CommandAction = std::function<ExitCode()>;

// Throws Error(kUsage) with the usage text for a line that makes no sense. --help and --version are
// actions that print.
CommandAction parse_command_line(int argc, const char* const* argv);

// Each adds its commands to `app`; a parsed command leaves its action in `chosen`, which must
// outlive the parsing.
void add_inspection_commands(CLI::App& app, CommandAction& chosen);  // config, trace, doctor
void add_run_commands(
    CLI::App& app,
    CommandAction& chosen);  // prepare, train, launch, eval, generate, bench, simulate
void add_checkpoint_commands(CLI::App& app, CommandAction& chosen);  // ckpt

// Parses, acts, and turns whatever is thrown into one message and an exit status.
int run_program(int argc, const char* const* argv);

}  // namespace gradwire
