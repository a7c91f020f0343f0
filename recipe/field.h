// What a key of a recipe may hold, for whom it has one value, and what changes with it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

using StringList = std::vector<std::string>;

// For whom a key has one value, and so which values are compared.
enum class KeyScope : std::uint8_t {
  kRun,    // all ranks of a run have the same, and a change from start to start is said
  kStart,  // all ranks of a start have the same: where the run lives, how its ranks talk
  kHost,   // hosts may differ, as paths do; a change from start to start is said
  kRank,   // ranks may differ, and a change means nothing
};

// What another value of a key means for a run that goes on from a checkpoint.
enum class KeyEffect : std::uint8_t {
  kModel,     // another model, which cannot go on
  kTraining,  // the same model, trained differently from here
  kNone,      // training computes the same
};

struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;                       // low itself is out
  bool high_open = false;                      // high itself is out
  bool nonempty = false;                       // of a string or a list
  bool is_path = false;                        // of files or folders (recipe/paths.h)
  std::vector<std::string_view> placeholders;  // that may stand in the path, as in {job}
  std::vector<std::string_view> choices;
  KeyScope scope = KeyScope::kRun;
  KeyEffect effect = KeyEffect::kTraining;
  const char* if_changed = "";  // a consequence that a run that goes on is told

  Limits below(double bound) const;             // the same, and < bound
  Limits up_to(double bound) const;             // the same, and <= bound
  Limits per_start() const;                     // the same, of a start
  Limits per_host() const;                      // the same, of a host
  Limits per_rank() const;                      // the same, of a rank
  Limits shapes_model() const;                  // the same, KeyEffect::kModel
  Limits beside_training() const;               // the same, KeyEffect::kNone
  Limits warns(const char* consequence) const;  // the same, with if_changed
  // The same, of a path in which these placeholders may stand.
  Limits path(std::initializer_list<std::string_view> names) const;
};
Limits at_least(double bound);
Limits greater_than(double bound);
Limits exactly(double value);
Limits one_of(std::initializer_list<std::string_view> choices);
Limits one_of(std::span<const std::string_view> choices);
Limits nonempty();

// "in [0, 1)", ">= 1", "one of 'bpe', 'unigram'", "not empty"; empty if all is allowed.
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

// The candidate nearest to a mistyped word, or nothing if none is near: at most a third of the
// word differs, in insertions, deletions, replacements and swaps of neighbours.
std::optional<std::string> nearest(std::string_view word, const StringList& candidates);
int edit_distance(std::string_view a, std::string_view b);

}  // namespace gradwire
