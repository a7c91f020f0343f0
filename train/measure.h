// What a task measures: the sums that an evaluation gives, how they are shown, and what its work is
// counted in. Values only; who adds them up and who writes them is elsewhere.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

// One metric of an evaluation as a fraction, so that it can be added up over ranks: the loss of all
// tokens and their number, word errors and words.
struct Sum {
  std::string name{};
  double numerator = 0.0;
  double denominator = 0.0;
  double value() const { return numerator / denominator; }
};
// Nothing if there is no such sum.
std::optional<double> value_of(std::span<const Sum> sums, std::string_view name);

// What is known of a metric before anything is measured. `name` is its key in logs and in recipes
// ("loss", "wer.es").
struct Metric {
  std::string name{};
  bool lower_is_better = true;
  int decimals = 4;       // as people see it
  std::string counted{};  // what the denominator counts ("tokens"), if that is worth showing
  // Another value that is shown beside it, made of it: the perplexity of a loss. None without a
  // name.
  std::string derived_name{};
  double (*derived)(double) = nullptr;
  int derived_decimals = 2;
};

// That of this name. Errors: kConfig, naming those that there are.
const Metric& metric_named(std::span<const Metric> metrics, std::string_view name);

// As it is logged.
struct NamedValue {
  std::string name{};
  double value = 0.0;
  int decimals = 4;
};
// Of each sum its value, and what is derived from it, by the metric of its name if there is one.
std::vector<NamedValue> shown(std::span<const Metric> metrics, std::span<const Sum> sums);

// How much of something a step has worked on, and how a rate of it is abbreviated: tokens, "tok".
struct Count {
  std::string name{};
  std::string unit{};
  double amount = 0.0;
};
using Counters = std::vector<Count>;

}  // namespace gradwire
