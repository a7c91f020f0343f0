// What a recipe key may hold. The structs of launch/recipe.h list their keys once, as calls
//   v("lr", lr, "peak learning rate", greater_than(0.0));
// and the reader, the writer, the range check and the documentation are visitors over that list.
// A key is a whole number, a number, a switch, a string or a list of strings.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

using StringList = std::vector<std::string>;

// For whom a key has one value: for the run, so that all its ranks must have the same and a change
// from start to start is said; for a start of it, as what says where the run lives and how its
// ranks talk; or for a rank, whose host may need another.
enum class KeyScope : std::uint8_t { kRun, kStart, kRank };

struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;                       // low itself is out
  bool high_open = false;                      // high itself is out
  bool nonempty = false;                       // of a string or a list
  bool is_path = false;                        // of files or folders (launch/recipe_paths.h)
  std::vector<std::string_view> placeholders;  // that may stand in the path, as in {job}
  std::vector<std::string_view> choices;
  KeyScope scope = KeyScope::kRun;

  Limits below(double bound) const;  // the same, and < bound
  Limits up_to(double bound) const;  // the same, and <= bound
  Limits per_start() const;          // the same, of a start
  Limits per_rank() const;           // the same, of a rank
  // The same, of a path in which these placeholders may stand.
  Limits path(std::initializer_list<std::string_view> names) const;
};
Limits at_least(double bound);
Limits greater_than(double bound);
Limits exactly(double value);
Limits one_of(std::initializer_list<std::string_view> choices);
Limits nonempty();

// "in [0, 1)", ">= 1", "one of 'bpe', 'unigram'", "not empty"; empty where all is allowed.
std::string to_text(const Limits& limits);

// What is wrong with a value ("must be > 0, got -1"), or nothing.
std::optional<std::string> violation(std::int64_t value, const Limits& limits);
std::optional<std::string> violation(double value, const Limits& limits);
std::optional<std::string> violation(bool value, const Limits& limits);
std::optional<std::string> violation(const std::string& value, const Limits& limits);
std::optional<std::string> violation(const StringList& value, const Limits& limits);

// As a recipe writes it. A number reads back as the same double, and never as a whole number.
std::string toml_text(std::int64_t value);
std::string toml_text(double value);
std::string toml_text(bool value);
std::string toml_text(std::string_view value);
std::string toml_text(const std::string& value);
std::string toml_text(const StringList& value);

constexpr const char* type_name(const std::int64_t&) {
  return "integer";
}
constexpr const char* type_name(const double&) {
  return "number";
}
constexpr const char* type_name(const bool&) {
  return "true or false";
}
constexpr const char* type_name(const std::string&) {
  return "string";
}
constexpr const char* type_name(const StringList&) {
  return "list of strings";
}

// The candidate nearest to a mistyped word, or nothing where none is near: at most a third of the
// word differs, in insertions, deletions, replacements and swaps of neighbours.
std::optional<std::string> nearest(std::string_view word, const StringList& candidates);
int edit_distance(std::string_view a, std::string_view b);

}  // namespace gradwire
