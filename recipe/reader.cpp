#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "recipe/chain.h"
#include "recipe/paths.h"
#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

constexpr const char* kCommandLine = "<command line>";

std::string found(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a floating-point number";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

// The value of a node, or what kind of value was expected instead.
const char* convert(const toml::node& node, std::int64_t& out) {
  if (!node.is_integer()) return "an integer";
  out = node.as_integer()->get();
  return nullptr;
}
const char* convert(const toml::node& node, double& out) {
  if (!node.is_number()) return "a number";
  out = *node.value<double>();
  return nullptr;
}
const char* convert(const toml::node& node, bool& out) {
  if (!node.is_boolean()) return "true or false";
  out = node.as_boolean()->get();
  return nullptr;
}
const char* convert(const toml::node& node, std::string& out) {
  if (!node.is_string()) return "a string";
  out = node.as_string()->get();
  return nullptr;
}
const char* convert(const toml::node& node, StringList& out) {
  constexpr const char* kExpected = "a list of strings";
  const toml::array* array = node.as_array();
  if (array == nullptr) return kExpected;
  StringList items;
  for (const toml::node& item : *array) {
    if (!item.is_string()) return kExpected;
    items.push_back(item.as_string()->get());
  }
  out = std::move(items);
  return nullptr;
}

// One file, or one override, read over what the recipe holds so far.
class Reader : public FieldVisitor {
 public:
  Reader(const toml::table& root, Origins& origins, std::vector<Problem>& problems,
         std::span<const JobKind> jobs)
      : root_(root), origins_(origins), problems_(problems), jobs_(jobs) {}

  // `line` overrides the table's own lines if it is not 0.
  void read(Recipe& r, const std::string& file, std::uint32_t line) {
    file_ = file;
    line_ = line;
    task_ = r.task;
    r.fields(*this);
    report_unknown(root_, "");
  }

  void begin_section(const std::string& name, const char*) override {
    known_.push_back(name);
    sections_.insert(name);
  }

  void field(const std::string& key, FieldRef value, const char*, const Limits&) override {
    known_.push_back(key);
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (const char* expected = std::visit([&](auto* out) { return convert(*node, *out); }, value)) {
      const toml::array* list = node->as_array();
      const bool mixed = list != nullptr && std::strcmp(expected, "a list of strings") == 0;
      problem(key, line_of(key),
              fmt::format("expected {}, found {}", expected,
                          mixed ? "other values in the list" : found(*node)));
      return;
    }
    origins_.places[key] = {file_, line_of(key)};
  }

 private:
  static std::pair<std::string, std::string> split(const std::string& key) {
    const std::size_t dot = key.find('.');
    if (dot == std::string::npos) return {"", key};
    return {key.substr(0, dot), key.substr(dot + 1)};
  }

  const toml::table* table_of(const std::string& section) const {
    return section.empty() ? &root_ : root_[section].as_table();
  }

  const toml::node* find(const std::string& key) const {
    const auto [section, leaf] = split(key);
    const toml::table* table = table_of(section);
    return table == nullptr ? nullptr : table->get(leaf);
  }

  std::uint32_t line_of(const std::string& key) const {
    if (line_ != 0) return line_;
    const auto [section, leaf] = split(key);
    return table_of(section)->find(leaf)->first.source().begin.line;
  }

  void report_unknown(const toml::table& table, const std::string& prefix) {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + std::string(name.str());
      const std::uint32_t line = line_ != 0 ? line_ : name.source().begin.line;
      if (prefix.empty() && sections_.contains(key)) {
        if (const toml::table* below = node.as_table()) {
          report_unknown(*below, key + '.');
        } else {
          problem(key, line, fmt::format("expected a table, found {}", found(node)));
        }
      } else if (std::ranges::count(known_, key) == 0) {
        problem(key, line, unknown_text(key));
      }
    }
  }

  std::string unknown_text(const std::string& key) const {
    for (const JobKind& job : jobs_) {
      if (job.name != task_ && has_key(job, key))
        return fmt::format("is of task '{}', and this recipe's task is '{}'", job.name, task_);
    }
    const auto guess = nearest_key(key, known_);
    return fmt::format("unknown key{}", guess ? fmt::format(" (did you mean '{}'?)", *guess) : "");
  }

  static bool has_key(const JobKind& job, const std::string& key) {
    return std::ranges::any_of(describe(job), [&](const SectionInfo& section) {
      return section.name == key || std::ranges::count(section.keys, key, &KeyInfo::key) > 0;
    });
  }

  void problem(const std::string& key, std::uint32_t line, std::string message) {
    problems_.push_back({file_, line, key, std::move(message)});
  }

  const toml::table& root_;
  Origins& origins_;
  std::vector<Problem>& problems_;
  std::span<const JobKind> jobs_;
  std::string file_, task_;
  std::uint32_t line_ = 0;
  StringList known_;
  std::set<std::string> sections_;
};

// The table of one override, or the problem with it.
toml::table parse_override(const std::string& text, std::uint32_t place,
                           std::vector<Problem>& problems) {
  const auto refuse = [&](const std::string& key, std::string message) {
    problems.push_back({kCommandLine, place, key, std::move(message), false});
    return toml::table();
  };
  const std::size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  constexpr const char* kKeyCharacters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
  if (equals == std::string::npos || key.find_first_not_of(kKeyCharacters) != std::string::npos) {
    return refuse("", fmt::format("expected key=value, as in optim.lr=1e-4, found '{}'", text));
  }
  const std::string value = text.substr(equals + 1);
  if (key == "extends") return refuse(key, "stands in a file, not on the command line");
  if (value.find_first_of("\n\r") != std::string::npos) {
    return refuse(key, "the value must be a single line");
  }
  try {
    return toml::parse(key + " = " + value);
  } catch (const toml::parse_error& e) {
    // Quoting for TOML below quoting for the shell is a burden: a bare word is a string.
    if (!value.empty() && std::strchr("\"'[{", value.front()) != nullptr) {
      return refuse(key, std::string(e.description()));
    }
  }
  try {
    return toml::parse(key + " = " + toml_text(value));
  } catch (const toml::parse_error& e) {
    return refuse(key, std::string(e.description()));
  }
}

// One file, or one override.
struct Source {
  std::string file;
  std::uint32_t line = 0;
  toml::table keys;
};

std::vector<Source> sources_of(const std::string& path, const std::vector<std::string>& overrides,
                               std::vector<Problem>& problems) {
  std::vector<Source> sources;
  for (RecipeFile& file : read_recipe_chain(path))
    sources.push_back({file.path, 0, std::move(file.keys)});
  for (std::size_t i = 0; i < overrides.size(); ++i) {
    const auto place = static_cast<std::uint32_t>(i + 1);
    sources.push_back({kCommandLine, place, parse_override(overrides[i], place, problems)});
  }
  return sources;
}

const JobKind* job_named(std::string_view task, std::span<const JobKind> jobs) {
  const auto found = std::ranges::find(jobs, task, [](const JobKind& j) { return j.name; });
  return found == jobs.end() ? nullptr : &*found;
}

// With the sections of the task that the last of the sources names. What is wrong with its name is
// said when the key itself is read and checked.
Recipe recipe_of_task(const std::vector<const toml::table*>& sources,
                      std::span<const JobKind> jobs) {
  const JobKind* kind = &jobs.front();
  for (const toml::table* keys : sources) {
    const std::optional<std::string> task = (*keys)["task"].value<std::string>();
    if (const JobKind* found = task ? job_named(*task, jobs) : nullptr) kind = found;
  }
  return default_recipe(kind->name, jobs);
}

}  // namespace

Recipe default_recipe(std::string_view task, std::span<const JobKind> jobs) {
  const JobKind* kind = job_named(task, jobs);
  if (kind == nullptr) throw Error(ErrorKind::kUsage, fmt::format("no task '{}'", task));
  Recipe r;
  r.task = kind->name;
  r.job = JobPart(jobs, *kind);
  return r;
}

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides,
                   std::span<const JobKind> jobs) {
  std::vector<Problem> problems;
  const std::vector<Source> sources = sources_of(path, overrides, problems);
  std::vector<const toml::table*> tables;
  for (const Source& source : sources)
    tables.push_back(&source.keys);
  Recipe r = recipe_of_task(tables, jobs);
  r.origins.file = path;
  for (const Source& source : sources)
    Reader(source.keys, r.origins, problems, jobs).read(r, source.file, source.line);
  std::ranges::move(expand_paths(r, [](const char* name) { return std::getenv(name); }),
                    std::back_inserter(problems));
  std::ranges::move(range_problems(r), std::back_inserter(problems));
  if (!problems.empty()) throw RecipeError(std::move(problems));
  ProblemList contradictions(r.origins);
  r.job.sections()->complete(r.origins, contradictions);
  if (!contradictions.empty()) throw RecipeError(contradictions.take());
  return r;
}

std::optional<Recipe> saved_recipe(const std::string& text, std::span<const JobKind> jobs) {
  if (!parser_objection(text).empty()) return std::nullopt;
  std::vector<Problem> passed_over;
  try {
    const toml::table root = toml::parse(text);
    Recipe r = recipe_of_task({&root}, jobs);
    Reader(root, r.origins, passed_over, jobs).read(r, "", 0);
    expand_paths(r, [](const char*) { return nullptr; });  // to_toml() has doubled braces
    return r;
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

}  // namespace gradwire
