#include "recipe/chain.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "recipe/problems.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtends = "extends";
constexpr std::size_t kMostFiles = 16;
constexpr std::size_t kMostBytes = std::size_t{1} << 20;
constexpr std::ptrdiff_t kMostDots = 10000;

// Why the file cannot be read, or empty.
std::string read_text(const std::string& path, std::string& text) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  text.resize(kMostBytes + 1);
  in.read(text.data(), std::ssize(text));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.is_open() && !in.bad()) return "";
  return fmt::format("cannot be read: {}",
                     errno != 0 ? std::strerror(errno) : "not a regular file");
}

toml::table parsed(const std::string& path, const std::string& text) {
  if (std::string why = parser_objection(text); !why.empty())
    throw RecipeError({{path, 0, "", std::move(why), false}});
  try {
    return toml::parse(text, path);
  } catch (const toml::parse_error& e) {
    throw RecipeError({{path, e.source().begin.line, "", std::string(e.description()), false}});
  }
}

// Where a file is named: the line of `extends` in another, or nowhere for the first.
struct Naming {
  std::string file;
  std::uint32_t line = 0;

  [[noreturn]] void refuse(const std::string& message, bool of_this_host = false) const {
    throw RecipeError({{file, line, kExtends, message, of_this_host}});
  }
};

class Chain {
 public:
  std::vector<RecipeFile> read(const std::string& path) {
    Naming by;
    for (std::string next = path; !next.empty();)
      next = add(next, by);
    std::ranges::reverse(files_);
    return std::move(files_);
  }

 private:
  // The path of its base, or empty. `by` becomes the line that names that.
  std::string add(const std::string& path, Naming& by) {
    check_new(path, by);
    std::string text;
    const std::string trouble = read_text(path, text);
    if (!trouble.empty() && files_.empty()) throw RecipeError({{path, 0, "", trouble, true}});
    if (!trouble.empty()) by.refuse(fmt::format("'{}' {}", path, trouble), true);
    toml::table keys = parsed(path, text);
    const auto found = keys.find(kExtends);
    std::string base;
    if (found != keys.end()) {
      by = {path, found->first.source().begin.line};
      base = base_path(found->second, by);
      keys.erase(found);
    }
    files_.push_back({path, std::move(keys)});
    return base;
  }

  void check_new(const std::string& path, const Naming& by) const {
    const auto same = [&](const RecipeFile& file) {
      std::error_code absent;
      return fs::equivalent(file.path, path, absent);
    };
    std::vector<std::string> names;
    for (const RecipeFile& file : files_)
      names.push_back(file.path);
    names.push_back(path);
    if (std::ranges::any_of(files_, same))
      by.refuse(fmt::format("goes round in a circle: {}", fmt::join(names, " extends ")));
    if (files_.size() == kMostFiles) by.refuse(fmt::format("more than {} files", kMostFiles));
  }

  static std::string base_path(const toml::node& node, const Naming& by) {
    const toml::value<std::string>* name = node.as_string();
    if (name == nullptr || name->get().empty()) by.refuse("expected the path of a recipe");
    return (fs::path(by.file).parent_path() / name->get()).lexically_normal().string();
  }

  std::vector<RecipeFile> files_;  // the one that was asked for first
};

}  // namespace

std::string parser_objection(std::string_view text) {
  if (text.size() > kMostBytes) return fmt::format("longer than {} bytes", kMostBytes);
  if (std::ranges::count(text, '.') > kMostDots) return fmt::format("more than {} dots", kMostDots);
  return "";
}

std::vector<RecipeFile> read_recipe_chain(const std::string& path) {
  return Chain().read(path);
}

}  // namespace gradwire
