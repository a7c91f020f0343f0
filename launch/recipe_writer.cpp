#include <algorithm>

#include <fmt/format.h>

#include "launch/recipe_io.h"
#include "launch/recipe_paths.h"
#include "launch/recipe_walk.h"

namespace gradwire {
namespace {

class Describer : public KeyWalk<Describer> {
 public:
  void begin_section(const char* name, const char* doc) { sections_.push_back({name, doc, {}}); }

  template <class T>
  void field(const std::string& key, T& value, const char* doc, const Limits& limits) {
    const std::string text =
        limits.is_path ? toml_text(with_literal_braces(value)) : toml_text(value);
    sections_.back().keys.push_back(
        {key, type_name(value), to_text(limits), text, doc, limits.scope});
  }

  std::vector<SectionInfo> take() { return std::move(sections_); }

 private:
  std::vector<SectionInfo> sections_ = {{"", "", {}}};
};

std::pair<std::string, std::string> split(std::string_view key) {
  const std::size_t dot = key.find('.');
  if (dot == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, dot)), std::string(key.substr(dot + 1))};
}

std::string leaf(const std::string& key) {
  return key.substr(key.find('.') + 1);
}

}  // namespace

std::vector<SectionInfo> describe(const Recipe& r) {
  Recipe copy = r;
  Describer describer;
  copy.fields(describer);
  return describer.take();
}

std::string to_toml(const Recipe& r) {
  std::string out;
  for (const SectionInfo& section : describe(r)) {
    if (!section.name.empty()) out += fmt::format("\n[{}]\n", section.name);
    for (const KeyInfo& info : section.keys)
      out += fmt::format("{} = {}\n", leaf(info.key), info.value);
  }
  return out;
}

std::string recipe_reference() {
  std::string out =
      "# Recipe keys\n\n"
      "Written by `gradwire config docs`; a test keeps it so. A recipe is a TOML file. Keys that\n"
      "are not given have their defaults; keys that are not listed here are errors. `--set a.b=v`\n"
      "on the command line wins over the file.\n\n"
      "`extends = \"base.toml\"`, above all sections, takes what that file says (its path is "
      "relative\n"
      "to the file that names it) for every key that is not given here. A list is replaced as a\n"
      "whole. A base may extend another one.\n\n"
      "In paths, and only if they are named under \"allowed\", `{job}` stands for the job\n"
      "(`GRADWIRE_JOB`, else Slurm's id, `ID_TASK` in a job array) and `{host}` for the name of "
      "the\n"
      "host. A brace itself is written `{{`.\n";
  for (const SectionInfo& section : describe(Recipe{})) {
    out += section.name.empty() ? "\n## Above all sections\n"
                                : fmt::format("\n## [{}]\n\n{}\n", section.name, section.doc);
    out += "\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
    for (const KeyInfo& info : section.keys) {
      out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", leaf(info.key), info.type, info.value,
                         info.limits, info.doc);
    }
  }
  return out;
}

std::optional<std::string> nearest_key(std::string_view wrong, const StringList& known) {
  const auto [section, name] = split(wrong);
  StringList siblings;
  for (const std::string& key : known) {
    if (split(key).first == section) siblings.push_back(split(key).second);
  }
  const std::string prefix = section.empty() ? "" : section + '.';
  if (const auto sibling = nearest(name, siblings)) return prefix + *sibling;
  const auto elsewhere =
      std::ranges::find_if(known, [&](const std::string& key) { return leaf(key) == name; });
  if (elsewhere != known.end()) return *elsewhere;
  return std::nullopt;
}

}  // namespace gradwire
