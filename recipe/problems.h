// What is wrong with a recipe. All problems are reported at once, each as
// `file:line: key: message (did you mean 'x'?)`.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace gradwire {

// Where a key was set. Line 0: nowhere, it has its default.
struct KeyPlace {
  std::string file;
  std::uint32_t line = 0;
};
struct Origins {
  std::string file;  // the recipe's
  std::map<std::string, KeyPlace, std::less<>> places;
  KeyPlace of(std::string_view key) const;
  // Where a value came from is no part of the value.
  bool operator==(const Origins&) const { return true; }
};

struct Problem {
  std::string file;
  std::uint32_t line = 0;  // 0: the key is not in the file
  std::string key;         // empty: the file as a whole
  std::string message;
  bool of_this_host = false;  // e.g. a missing file: other hosts may not have the problem
};
std::string to_text(const Problem& p);

// Collects problems, each at the place where its key was set.
class ProblemList {
 public:
  // `origins` must outlive it.
  explicit ProblemList(const Origins& origins) : origins_(origins) {}

  // Blames the first of the keys that the recipe sets; the first of all if it sets none.
  void blame(std::initializer_list<const char*> keys, std::string message,
             bool of_this_host = false);
  void add(const std::string& key, std::string message, bool of_this_host = false);
  bool empty() const { return problems_.empty(); }
  std::vector<Problem> take() { return std::move(problems_); }

 private:
  const Origins& origins_;
  std::vector<Problem> problems_;
};

// Error(kConfig) whose message lists every problem.
class RecipeError : public Error {
 public:
  explicit RecipeError(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const noexcept { return problems_; }
  // Whether every rank that reads the same recipe meets the same problems.
  bool same_everywhere() const noexcept;

 private:
  std::vector<Problem> problems_;
};

}  // namespace gradwire
