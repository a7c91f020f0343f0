#include "recipe/problems.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/printable.h"

namespace gradwire {
namespace {

constexpr std::size_t kMostKeyBytes = 256;

// By file, in the order in which files first appear, then by line.
std::vector<Problem> sorted(std::vector<Problem> problems) {
  std::vector<std::string> files;
  for (const Problem& p : problems) {
    if (std::ranges::count(files, p.file) == 0) files.push_back(p.file);
  }
  std::ranges::stable_sort(problems, {}, [&](const Problem& p) {
    return std::pair(std::ranges::find(files, p.file) - files.begin(), p.line);
  });
  return problems;
}

std::string listing(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& p : problems)
    lines.push_back(to_text(p));
  if (lines.size() == 1) return lines.front();
  return fmt::format("{} problems\n{}", lines.size(), fmt::join(lines, "\n"));
}

}  // namespace

KeyPlace Origins::of(std::string_view key) const {
  const auto found = places.find(key);
  return found == places.end() ? KeyPlace{file, 0} : found->second;
}

std::string to_text(const Problem& p) {
  const std::string line = p.line == 0 ? "" : fmt::format("{}:", p.line);
  const std::string key = p.key.empty() ? "" : printable_word(p.key, kMostKeyBytes) + ": ";
  return fmt::format("{}:{} {}{}", printable_word(p.file), line, key, printable_word(p.message));
}

void ProblemList::blame(std::initializer_list<const char*> keys, std::string message,
                        bool of_this_host) {
  const auto set =
      std::ranges::find_if(keys, [&](const char* key) { return origins_.of(key).line != 0; });
  add(set != keys.end() ? *set : *keys.begin(), std::move(message), of_this_host);
}

void ProblemList::add(const std::string& key, std::string message, bool of_this_host) {
  const KeyPlace place = origins_.of(key);
  problems_.push_back({place.file, place.line, key, std::move(message), of_this_host});
}

RecipeError::RecipeError(std::vector<Problem> problems)
    : Error(ErrorKind::kConfig, listing(sorted(problems))), problems_(sorted(problems)) {}

bool RecipeError::same_everywhere() const noexcept {
  return std::ranges::none_of(problems_, &Problem::of_this_host);
}

}  // namespace gradwire
