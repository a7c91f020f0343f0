#include "recipe/field.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/printable.h"

namespace gradwire {
namespace {

constexpr std::size_t kMostShownBytes = 256;  // of a value in a message

bool inside(double value, const Limits& limits) {
  const bool low = limits.low_open ? value > limits.low : value >= limits.low;
  const bool high = limits.high_open ? value < limits.high : value <= limits.high;
  return low && high;
}

std::string number_text(double value) {
  return fmt::format("{}", value);
}

StringList quoted(const std::vector<std::string_view>& words) {
  StringList out;
  for (const std::string_view word : words)
    out.push_back(fmt::format("'{}'", word));
  return out;
}

}  // namespace

Limits Limits::below(double bound) const {
  Limits out = *this;
  out.high = bound;
  out.high_open = true;
  return out;
}

Limits Limits::up_to(double bound) const {
  Limits out = *this;
  out.high = bound;
  return out;
}

Limits Limits::per_start() const {
  Limits l = *this;
  l.scope = KeyScope::kStart;
  return l;
}

Limits Limits::per_host() const {
  Limits l = *this;
  l.scope = KeyScope::kHost;
  return l;
}

Limits Limits::per_rank() const {
  Limits l = *this;
  l.scope = KeyScope::kRank;
  return l;
}

Limits Limits::shapes_model() const {
  Limits l = *this;
  l.effect = KeyEffect::kModel;
  return l;
}

Limits Limits::beside_training() const {
  Limits l = *this;
  l.effect = KeyEffect::kNone;
  return l;
}

Limits Limits::warns(const char* consequence) const {
  Limits l = *this;
  l.if_changed = consequence;
  return l;
}

Limits Limits::path(std::initializer_list<std::string_view> names) const {
  Limits out = *this;
  out.is_path = true;
  out.placeholders = names;
  return out;
}

Limits at_least(double bound) {
  Limits out;
  out.low = bound;
  return out;
}

Limits greater_than(double bound) {
  Limits out = at_least(bound);
  out.low_open = true;
  return out;
}

Limits exactly(double value) {
  return at_least(value).up_to(value);
}

Limits one_of(std::initializer_list<std::string_view> choices) {
  Limits out;
  out.choices = choices;
  return out;
}

Limits one_of(std::span<const std::string_view> choices) {
  Limits out;
  out.choices.assign(choices.begin(), choices.end());
  return out;
}

Limits nonempty() {
  Limits out;
  out.nonempty = true;
  return out;
}

std::string to_text(const Limits& limits) {
  if (!limits.choices.empty()) {
    return fmt::format("one of {}", fmt::join(quoted(limits.choices), ", "));
  }
  if (limits.nonempty) {
    StringList parts = {"not empty"};
    for (const std::string_view name : limits.placeholders)
      parts.push_back(fmt::format("{{{}}}", name));
    return fmt::format("{}", fmt::join(parts, ", "));
  }
  const bool low = std::isfinite(limits.low);
  const bool high = std::isfinite(limits.high);
  if (low && high && limits.low == limits.high) return number_text(limits.low);
  if (low && high) {
    return fmt::format("in {}{}, {}{}", limits.low_open ? '(' : '[', number_text(limits.low),
                       number_text(limits.high), limits.high_open ? ')' : ']');
  }
  if (low) return fmt::format("{} {}", limits.low_open ? ">" : ">=", number_text(limits.low));
  if (high) return fmt::format("{} {}", limits.high_open ? "<" : "<=", number_text(limits.high));
  return "";
}

std::optional<std::string> violation(std::int64_t value, const Limits& limits) {
  if (inside(static_cast<double>(value), limits)) return std::nullopt;
  return fmt::format("must be {}, got {}", to_text(limits), value);
}

std::optional<std::string> violation(double value, const Limits& limits) {
  if (!std::isfinite(value)) return fmt::format("must be a finite number, got {}", value);
  if (inside(value, limits)) return std::nullopt;
  return fmt::format("must be {}, got {}", to_text(limits), number_text(value));
}

std::optional<std::string> violation(bool, const Limits&) {
  return std::nullopt;
}

std::optional<std::string> violation(const std::string& value, const Limits& limits) {
  if (limits.nonempty && value.empty()) return "must not be empty";
  if (limits.choices.empty() || std::ranges::count(limits.choices, value) > 0) return std::nullopt;
  const auto guess = nearest(value, StringList(limits.choices.begin(), limits.choices.end()));
  return fmt::format("must be {}, got '{}'{}", to_text(limits),
                     printable_word(value, kMostShownBytes),
                     guess ? fmt::format(" (did you mean '{}'?)", *guess) : "");
}

std::optional<std::string> violation(const StringList& value, const Limits& limits) {
  if (limits.nonempty && value.empty()) return "must not be empty";
  return std::nullopt;
}

std::string toml_text(std::int64_t value) {
  return fmt::format("{}", value);
}

std::string toml_text(double value) {
  std::string text = number_text(value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string toml_text(bool value) {
  return value ? "true" : "false";
}

// What could drive a terminal is escaped, so that the text can be shown as it is. Bytes that are no
// UTF-8, which TOML cannot hold, stay: they can only come from the system, as in a host's name.
std::string toml_text(std::string_view value) {
  std::string out = "\"";
  for (std::size_t at = 0; at < value.size();) {
    const CodePoint c = first_code_point(value.substr(at));
    const std::size_t bytes = std::max<std::size_t>(1, c.bytes);
    if (c.bytes > 0 && !is_harmless(c.value)) {
      out += fmt::format("\\u{:04x}", c.value);
    } else {
      if (value[at] == '"' || value[at] == '\\') out += '\\';
      out += value.substr(at, bytes);
    }
    at += bytes;
  }
  return out + '"';
}

std::string toml_text(const std::string& value) {
  return toml_text(std::string_view(value));
}

std::string toml_text(const StringList& value) {
  StringList items;
  for (const std::string& item : value)
    items.push_back(toml_text(item));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

// Optimal string alignment: Levenshtein's table with swaps of neighbours.
int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t columns = b.size() + 1;
  std::vector<int> table((a.size() + 1) * columns);
  const auto at = [&](std::size_t i, std::size_t j) -> int& { return table[i * columns + j]; };
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        at(i, j) = static_cast<int>(i + j);
        continue;
      }
      const int replaced = at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      at(i, j) = std::min({replaced, at(i - 1, j) + 1, at(i, j - 1) + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
      }
    }
  }
  return at(a.size(), b.size());
}

std::optional<std::string> nearest(std::string_view word, const StringList& candidates) {
  constexpr std::size_t kMostBytes = 64;  // the time of a comparison grows with it
  if (word.size() > kMostBytes) return std::nullopt;
  std::optional<std::string> best;
  int best_distance = std::max(1, static_cast<int>(word.size()) / 3) + 1;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace gradwire
