#include "launch/cli/command_line.h"

#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/error.h"
#include "launch/cli/options.h"
#include "launch/cli/reference.h"
#include "launch/start/libraries.h"

#include "recipe/field.h"

namespace gradwire {

void add_recipe(CLI::App& command, RecipeArgs& args, std::span<const JobKind> jobs) {
  command.add_option("RECIPE", args.path, "a TOML file; its keys: docs/recipes.md")->required();
  add_overrides(command, args, jobs);
}

void add_overrides(CLI::App& command, RecipeArgs& args, std::span<const JobKind> jobs) {
  args.jobs = jobs;
  command.add_option("--set", args.set, "key=value: wins over the recipe; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

namespace {

// What is wrong with the line, and how the innermost command that it names is used.
std::string usage_text(const CLI::App& app, const std::string& wrong) {
  const CLI::App* command = &app;
  std::string path;
  while (!command->get_subcommands().empty()) {
    path += (path.empty() ? "" : " ") + command->get_name();
    command = command->get_subcommands().front();
  }
  StringList names;
  for (const CLI::App* sub : command->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  const std::vector<std::string> rest = command->remaining();
  if (names.empty() || rest.empty()) return fmt::format("{}\n\n{}", wrong, command->help(path));
  const auto guess = nearest(rest.front(), names);
  return fmt::format("no command '{}'{}\n\n{}", rest.front(),
                     guess ? fmt::format(" (did you mean '{}'?)", *guess) : "",
                     command->help(path));
}

// The text is made while `app` is there.
void add_reference(CLI::App& app, CommandAction& chosen) {
  CLI::App* reference =
      app.add_subcommand("reference", "print all commands and options: for man, or for bash");
  reference->require_subcommand(1);
  const auto add = [&](const char* name, const char* doc, std::string (*text)(const CLI::App&)) {
    reference->add_subcommand(name, doc)->callback([&app, &chosen, text] {
      chosen = [out = text(app)] {
        fmt::print("{}", out);
        return ExitCode::kDone;
      };
    });
  };
  add("man", "a manual page, for man", manual_page);
  add("bash", "a completion, for bash to source", bash_completion);
}

}  // namespace

CommandAction parse_command_line(int argc, const char* const* argv, std::span<const JobKind> jobs) {
  CLI::App app("Trains neural networks over the network you have.", "gradwire");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text, "print versions and end");
  CommandAction chosen;
  add_run_commands(app, chosen, jobs);
  add_checkpoint_commands(app, chosen, jobs);
  add_inspection_commands(app, chosen, jobs);
  add_reference(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    std::ostringstream text;
    app.exit(wanted, text, text);
    return [out = text.str()] {
      fmt::print("{}", out);
      return ExitCode::kDone;
    };
  } catch (const CLI::ParseError& e) {
    throw Error(ErrorKind::kUsage, usage_text(app, e.what()));
  }
  return chosen;
}

}  // namespace gradwire
