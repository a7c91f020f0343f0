#include "launch/cli/reference.h"

#include <functional>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gradwire {
namespace {

using Visit = std::function<void(const CLI::App& command, const std::string& path)>;

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// The commands below `app` that do something themselves, as "ckpt ls".
void walk(const CLI::App& app, const std::string& path, const Visit& visit) {
  for (const CLI::App* command : commands_of(app)) {
    const std::string name = path.empty() ? command->get_name() : path + ' ' + command->get_name();
    if (commands_of(*command).empty()) visit(*command, name);
    walk(*command, name, visit);
  }
}

// A line that troff takes as text, whatever it begins with.
std::string troff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

bool is_positional(const CLI::Option& option) {
  return option.get_positional();
}

std::string synopsis(const CLI::App& command, const std::string& path) {
  std::string text = "gradwire " + path;
  for (const CLI::Option* option : command.get_options()) {
    if (!is_positional(*option)) continue;
    const std::string name = option->get_name(true);
    text += option->get_required() ? ' ' + name : fmt::format(" [{}]", name);
  }
  return text + " [options]";
}

std::string option_text(const CLI::Option& option) {
  const std::string value = option.get_items_expected_max() > 0 ? ' ' + option.get_type_name() : "";
  return fmt::format(".TP\n.B {}\n{}\n", troff(option.get_name(false, true) + value),
                     troff(option.get_description()));
}

std::string words_of(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::App* command : commands_of(app))
    words.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames())
      words.push_back("--" + name);
  }
  return fmt::format("{}", fmt::join(words, " "));
}

// What may follow each command: its options, and the commands below it.
std::string cases_of(const CLI::App& app, const std::string& path) {
  std::string out = fmt::format("    '{}') words='{}' group={} ;;\n", path, words_of(app),
                                commands_of(app).empty() ? "" : "yes");
  for (const CLI::App* command : commands_of(app))
    out +=
        cases_of(*command, path.empty() ? command->get_name() : path + ' ' + command->get_name());
  return out;
}

std::vector<std::string> quoted_paths(const CLI::App& app) {
  std::vector<std::string> paths;
  for (const CLI::App* command : commands_of(app)) {
    const std::string name = command->get_name();
    paths.push_back(fmt::format("'{}'", name));
    for (const CLI::App* below : commands_of(*command))
      paths.push_back(fmt::format("'{} {}'", name, below->get_name()));
  }
  return paths;
}

}  // namespace

std::string manual_page(const CLI::App& app) {
  std::string out = fmt::format(
      ".TH GRADWIRE 1\n.SH NAME\ngradwire \\- {}\n.SH SYNOPSIS\n.B gradwire\n"
      ".I command\n[options]\n.SH COMMANDS\n",
      "trains neural networks over the network you have");
  walk(app, "", [&](const CLI::App& command, const std::string& path) {
    out += fmt::format(".SS {}\n{}.\n", troff(synopsis(command, path)),
                       troff(command.get_description()));
    for (const CLI::Option* option : command.get_options())
      if (option->get_name() != "--help") out += option_text(*option);
  });
  out += ".SH EXIT STATUS\nSee docs/launch.md.\n";
  return out;
}

std::string bash_completion(const CLI::App& app) {
  constexpr const char* kHead = R"(# Completion of gradwire for bash.
_gradwire() {
  local current=${COMP_WORDS[COMP_CWORD]} path='' words='' group='' i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "${path:+$path }${COMP_WORDS[i]}" in
)";
  constexpr const char* kTail = R"(  esac
  COMPREPLY=()
  if [[ $current == -* || -n $group ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -o filenames -F _gradwire gradwire
)";
  std::string out = kHead;
  out += fmt::format("      {}) path=\"${{path:+$path }}${{COMP_WORDS[i]}}\" ;;\n",
                     fmt::join(quoted_paths(app), " | "));
  out += "    esac\n  done\n  case $path in\n";
  return out + cases_of(app, "") + kTail;
}

}  // namespace gradwire
