#include "export/model_card.h"

#include <fmt/format.h>

#include "core/printable.h"

namespace gradwire {
namespace {

// Within a cell a bar would begin the next one.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : printable_word(text)) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string to_markdown(const ModelCard& card) {
  std::string out = fmt::format("# {}\n\n{}\n\n| | |\n|---|---|\n", printable_word(card.title),
                                printable(card.summary));
  for (const auto& [name, value] : card.facts)
    out += fmt::format("| {} | {} |\n", cell(name), cell(value));
  // A fence that no text in the recipe can end.
  return out + fmt::format("\n## Recipe\n\n~~~~~~toml\n{}~~~~~~\n", printable(card.recipe));
}

}  // namespace gradwire
