// The command line. parse_command_line() turns it into one action; nothing is done before all of it
// was understood. CLI11 stays inside launch/cli/, with one file per group of commands.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "launch/start/exit_code.h"

#include "recipe/job_sections.h"

namespace CLI {
class App;
}

namespace gradwire {

using CommandAction = std::function<ExitCode()>;

// Throws Error(kUsage) with the usage text for a line that makes no sense. --help and --version are
// actions that print.
CommandAction parse_command_line(int argc, const char* const* argv, std::span<const JobKind> jobs);

// Each adds its commands to `app`; a parsed command leaves its action in `chosen`, which must
// outlive the parsing.
void add_inspection_commands(CLI::App& app, CommandAction& chosen,
                             std::span<const JobKind> jobs);  // config, import, ...
void add_run_commands(CLI::App& app, CommandAction& chosen,
                      std::span<const JobKind> jobs);  // prepare, train, launch, eval, bench, ...
void add_checkpoint_commands(CLI::App& app, CommandAction& chosen,
                             std::span<const JobKind> jobs);  // export, ckpt

}  // namespace gradwire
