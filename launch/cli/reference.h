// The command line as a manual page and as a completion for bash, written from the definitions of
// its options.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace gradwire {

// In troff's man macros: every command with its arguments and options.
std::string manual_page(const CLI::App& app);
// A script for bash: completes commands, options, and files for everything else.
std::string bash_completion(const CLI::App& app);

}  // namespace gradwire
