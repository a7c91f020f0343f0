#include <algorithm>

#include <fmt/format.h>

#include "core/printable.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"

namespace gradwire {
namespace {

struct Explained {
  KeyInfo info;
  std::string default_value;
};

std::vector<Explained> explained(const Recipe& r) {
  std::vector<Explained> out;
  const std::vector<SectionInfo> set = describe(r);
  const std::vector<SectionInfo> defaults = describe(default_recipe(r.task, r.job.known()));
  for (std::size_t s = 0; s < set.size(); ++s) {
    for (std::size_t k = 0; k < set[s].keys.size(); ++k)
      out.push_back({set[s].keys[k], defaults[s].keys[k].value});
  }
  return out;
}

std::string set_at(const KeyPlace& place) {
  return place.line == 0 ? "nowhere: the default"
                         : fmt::format("{}:{}", printable_word(place.file), place.line);
}

void print(const Explained& e, const KeyPlace& place) {
  fmt::print("{}\n    {}\n", e.info.key, e.info.doc);
  fmt::print("    type     {}\n", e.info.type);
  if (!e.info.limits.empty()) fmt::print("    allowed  {}\n", e.info.limits);
  fmt::print("    default  {}\n    value    {}\n    set at   {}\n", e.default_value, e.info.value,
             set_at(place));
}

[[noreturn]] void no_such_key(const Recipe& r, const std::string& key) {
  StringList known;
  for (const SectionInfo& section : describe(r)) {
    if (!section.name.empty()) known.push_back(section.name);
    for (const KeyInfo& info : section.keys)
      known.push_back(info.key);
  }
  const auto guess = nearest_key(key, known);
  throw Error(ErrorKind::kUsage,
              fmt::format("config explain: no key or section '{}'{}", key,
                          guess ? fmt::format(" (did you mean '{}'?)", *guess) : ""));
}

}  // namespace

ExitCode run_config_show(const ConfigArgs& args) {
  fmt::print("{}", to_toml(load_recipe(args.recipe)));
  return ExitCode::kDone;
}

ExitCode run_config_validate(const ConfigArgs& args) {
  const Recipe r = load_recipe(args.recipe);
  validate(r, args.ranks);
  fmt::print("{}: ok; a step is {} sequences = {} ranks x {} micro-batches x {}\n",
             printable_word(args.recipe.path), r.batch.global, args.ranks,
             r.batch.accumulation(args.ranks), r.batch.micro);
  return ExitCode::kDone;
}

ExitCode run_config_explain(const ConfigArgs& args) {
  const Recipe r = load_recipe(args.recipe);
  bool any = false;
  for (const Explained& e : explained(r)) {
    if (!args.key.empty() && e.info.key != args.key && !e.info.key.starts_with(args.key + '.')) {
      continue;
    }
    any = true;
    print(e, r.origins.of(e.info.key));
  }
  if (!any) no_such_key(r, args.key);
  return ExitCode::kDone;
}

ExitCode run_config_docs(const DocsArgs& args) {
  fmt::print("{}", recipe_reference(args.jobs));
  return ExitCode::kDone;
}

}  // namespace gradwire
