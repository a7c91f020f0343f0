#include <algorithm>

#include <fmt/format.h>

#include "recipe/paths.h"
#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

const char* type_name(FieldRef value) {
  constexpr const char* kNames[] = {"integer", "number", "true or false", "string",
                                    "list of strings"};
  return kNames[value.index()];
}

std::string value_text(FieldRef value, const Limits& limits) {
  if (limits.is_path) {
    if (std::string** path = std::get_if<std::string*>(&value))
      return toml_text(with_literal_braces(**path));
    if (StringList** paths = std::get_if<StringList*>(&value))
      return toml_text(with_literal_braces(**paths));
  }
  return std::visit([](const auto* v) { return toml_text(*v); }, value);
}

class Describer : public FieldVisitor {
 public:
  void begin_section(const std::string& name, const char* doc) override {
    sections_.push_back({name, doc, {}});
  }
  void field(const std::string& key, FieldRef value, const char* doc,
             const Limits& limits) override {
    sections_.back().keys.push_back({key, type_name(value), to_text(limits),
                                     value_text(value, limits), doc, limits.scope, limits.effect,
                                     limits.if_changed});
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

constexpr const char* kReferenceHead =
    "# Recipe keys\n\n"
    "Written by `gradwire config docs`; a test keeps it so. A recipe is a TOML file. Keys that\n"
    "are not given have their defaults; keys that are not listed here are errors. `--set a.b=v`\n"
    "on the command line wins over the file.\n\n"
    "`task` names the job. Some sections every job has; the others are the job's own, and a "
    "recipe\n"
    "of another task must not have them.\n\n"
    "`extends = \"base.toml\"`, above all sections, takes what that file says (its path is "
    "relative\n"
    "to the file that names it) for every key that is not given here. A list is replaced as a\n"
    "whole. A base may extend another one.\n\n"
    "In paths, and only if they are named under \"allowed\", `{job}` stands for the job\n"
    "(`GRADWIRE_JOB`, else Slurm's id, `ID_TASK` in a job array) and `{host}` for the name of the\n"
    "host. A brace itself is written `{{`.\n";

std::string section_reference(const SectionInfo& section) {
  std::string out = section.name.empty()
                        ? "\n## Above all sections\n"
                        : fmt::format("\n## [{}]\n\n{}\n", section.name, section.doc);
  out += "\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const KeyInfo& info : section.keys) {
    out += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", leaf(info.key), info.type, info.value,
                       info.limits, info.doc);
  }
  return out;
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

std::vector<SectionInfo> describe(const JobKind& kind) {
  Describer describer;
  kind.sections()->fields(describer);
  std::vector<SectionInfo> sections = describer.take();
  sections.erase(sections.begin());  // above all sections a job has no keys
  return sections;
}

bool operator==(const Recipe& a, const Recipe& b) {
  return to_toml(a) == to_toml(b);
}

std::string recipe_reference(std::span<const JobKind> jobs) {
  std::string out = kReferenceHead;
  Recipe common;
  common.task = jobs.front().name;
  common.job = JobPart(jobs, jobs.front());
  const std::vector<SectionInfo> of_first_job = describe(jobs.front());
  out += "\n# Keys of every task\n";
  for (const SectionInfo& section : describe(common)) {
    const bool of_job = std::ranges::count(of_first_job, section.name, &SectionInfo::name) > 0;
    if (!of_job) out += section_reference(section);
  }
  for (const JobKind& kind : jobs) {
    out += fmt::format("\n# Task `{}`\n\n{}\n", kind.name, kind.doc);
    for (const SectionInfo& section : describe(kind))
      out += section_reference(section);
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
