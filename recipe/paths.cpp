#include "recipe/paths.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "core/host_name.h"

namespace gradwire {
namespace {

constexpr std::array<std::string_view, 3> kPlaceholders = {"job", "host", "rank"};

std::string get(const EnvironmentLookup& lookup, const char* name) {
  const char* text = lookup(name);
  return text == nullptr ? "" : text;
}

// Empty outside a job.
std::string job_name(const EnvironmentLookup& lookup) {
  const std::string own = get(lookup, "GRADWIRE_JOB");
  if (!own.empty()) return own;
  const std::string array = get(lookup, "SLURM_ARRAY_JOB_ID");
  const std::string task = get(lookup, "SLURM_ARRAY_TASK_ID");
  if (!array.empty() && !task.empty()) return array + '_' + task;
  return get(lookup, "SLURM_JOB_ID");
}

// One name of a folder or file, which leads nowhere else.
bool is_plain_name(const std::string& name) {
  return !name.starts_with('.') && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
}

StringList in_braces(const auto& names) {
  StringList out;
  for (const std::string_view name : names)
    out.push_back(fmt::format("{{{}}}", name));
  return out;
}

class Expansion : public FieldVisitor {
 public:
  Expansion(const Origins& origins, const EnvironmentLookup& lookup)
      : problems_(origins), lookup_(lookup) {}

  void field(const std::string& key, FieldRef value, const char*, const Limits& limits) override {
    if (!limits.is_path) return;
    if (std::string** path = std::get_if<std::string*>(&value)) expand(key, **path, limits);
    if (StringList** paths = std::get_if<StringList*>(&value)) {
      for (std::string& path : **paths)
        expand(key, path, limits);
    }
  }

  std::vector<Problem> take() { return problems_.take(); }

 private:
  void expand(const std::string& key, std::string& path, const Limits& limits) {
    std::string out;
    for (std::size_t at = 0; at < path.size();) {
      const std::size_t brace = std::min(path.find('{', at), path.size());
      out += path.substr(at, brace - at);
      at = brace + 1;
      if (brace == path.size()) break;
      if (path.substr(at, 1) == "{") {
        out += '{';
        ++at;
        continue;
      }
      const std::size_t end = path.find('}', at);
      const std::string name = path.substr(at, end == std::string::npos ? end : end - at);
      const auto value =
          end == std::string::npos ? unknown(key, name, limits) : value_of(key, name, limits);
      if (!value) return;
      out += *value;
      at = end + 1;
    }
    path = out;
  }

  std::optional<std::string> value_of(const std::string& key, const std::string& name,
                                      const Limits& limits) {
    if (std::ranges::count(kPlaceholders, name) == 0) return unknown(key, name, limits);
    if (std::ranges::count(limits.placeholders, name) == 0) {
      return refuse(key, fmt::format("{{{}}} cannot stand here: {}; allowed is {}", name,
                                     name == "host" ? "all hosts need the same path"
                                                    : "all ranks need the same path",
                                     fmt::join(in_braces(limits.placeholders), ", ")));
    }
    return name == "host" ? host_name() : job(key);
  }

  std::optional<std::string> unknown(const std::string& key, const std::string& name,
                                     const Limits& limits) {
    return refuse(key, fmt::format("unknown placeholder {{{}}}: known is {}; a brace itself is "
                                   "written {{{{",
                                   name, fmt::join(in_braces(limits.placeholders), ", ")));
  }

  std::optional<std::string> job(const std::string& key) {
    const std::string name = job_name(lookup_);
    if (name.empty()) {
      return refuse(key,
                    "no job that {job} could stand for: start it under Slurm, or set GRADWIRE_JOB");
    }
    if (is_plain_name(name)) return name;
    return refuse(key, fmt::format("GRADWIRE_JOB='{}' is no name of letters, digits, '_', '-' and "
                                   "'.'",
                                   name));
  }

  std::nullopt_t refuse(const std::string& key, std::string message) {
    problems_.add(key, std::move(message));
    return std::nullopt;
  }

  ProblemList problems_;
  const EnvironmentLookup& lookup_;
};

}  // namespace

std::vector<Problem> expand_paths(Recipe& r, const EnvironmentLookup& lookup) {
  Expansion expansion(r.origins, lookup);
  r.fields(expansion);
  return expansion.take();
}

std::string with_literal_braces(const std::string& path) {
  std::string out;
  for (const char c : path)
    out += c == '{' ? "{{" : std::string(1, c);
  return out;
}

StringList with_literal_braces(const StringList& paths) {
  StringList out;
  for (const std::string& path : paths)
    out.push_back(with_literal_braces(path));
  return out;
}

void check_run_folder(const Recipe& r) {
  std::error_code gone;
  std::filesystem::path there = std::filesystem::absolute(r.run.dir);
  while (!std::filesystem::exists(there, gone) && there.has_relative_path())
    there = there.parent_path();
  std::string why;
  if (!std::filesystem::is_directory(there, gone)) {
    why = "is no folder";
  } else if (::access(there.c_str(), W_OK | X_OK) != 0) {
    why = fmt::format("cannot be written: {}", std::strerror(errno));
  }
  if (why.empty()) return;
  const KeyPlace place = r.origins.of("run.dir");
  throw RecipeError(
      {{place.file, place.line, "run.dir", fmt::format("'{}' {}", there.string(), why), true}});
}

}  // namespace gradwire
