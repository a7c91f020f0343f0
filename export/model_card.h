// The README.md of an exported folder: what it is, what it was made from, and how well it did.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace gradwire {

struct ModelCard {
  std::string title;
  std::string summary;                                       // a paragraph
  std::vector<std::pair<std::string, std::string>> facts{};  // rows of a table
  std::string recipe;                                        // TOML, complete
};

// Markdown. Text from files is shown as core/printable.h does it.
std::string to_markdown(const ModelCard& card);

}  // namespace gradwire
