// Inside launch/cli/ only: options that several commands share, and how a command becomes the
// chosen action.
#pragma once

#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "launch/cli/command_line.h"
#include "launch/commands/commands.h"

namespace gradwire {

void add_recipe(CLI::App& command, RecipeArgs& args,
                std::span<const JobKind> jobs);  // RECIPE and --set
void add_overrides(CLI::App& command, RecipeArgs& args, std::span<const JobKind> jobs);

// The command's arguments, which live as long as its action.
template <class Args>
Args& on_parsed(CLI::App& command, CommandAction& chosen, ExitCode (*run)(const Args&)) {
  auto args = std::make_shared<Args>();
  command.callback([&chosen, args, run] { chosen = [args, run] { return run(*args); }; });
  return *args;
}

}  // namespace gradwire
