#include "train/same_run.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "comm/rank_list.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"

namespace gradwire {
namespace {

using Facts = std::map<std::string, std::string>;

std::string text_of(const std::vector<RunFact>& facts) {
  nlohmann::json all = nlohmann::json::array();
  for (const RunFact& f : facts)
    all.push_back({f.name, f.value});
  return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Facts facts_in(const std::string& text) {
  Facts facts;
  for (const auto& pair : nlohmann::json::parse(text))
    facts.emplace(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
  return facts;
}

// "optim.lr: 0.001 on ranks 0 to 2, 0.01 on rank 3"; empty if all have the same.
std::string difference(const std::string& name, const std::vector<Facts>& all) {
  std::vector<std::pair<std::string, std::vector<std::size_t>>> values;
  for (std::size_t r = 0; r < all.size(); ++r) {
    const auto found = all[r].find(name);
    const std::string value = found == all[r].end() ? "unknown" : found->second;
    const auto same = std::ranges::find(values, value, [](const auto& v) { return v.first; });
    if (same == values.end()) {
      values.push_back({value, {r}});
    } else {
      same->second.push_back(r);
    }
  }
  if (values.size() < 2) return "";
  std::vector<std::string> texts;
  for (const auto& [value, ranks] : values)
    texts.push_back(fmt::format("{} on {}", printable_word(value), ranks_text(ranks)));
  return fmt::format("{}: {}", printable_word(name), fmt::join(texts, ", "));
}

std::vector<std::string> differences(const std::vector<std::string>& texts) {
  std::vector<Facts> all;
  std::map<std::string, bool> names;
  for (const std::string& text : texts) {
    all.push_back(facts_in(text));
    for (const auto& [name, value] : all.back())
      names[name] = true;
  }
  std::vector<std::string> found;
  for (const auto& [name, known] : names)
    if (std::string text = difference(name, all); !text.empty()) found.push_back(std::move(text));
  return found;
}

}  // namespace

std::string digest_of_file(const std::string& path) {
  try {
    return to_hex(hash_of_file(path));
  } catch (const Error&) {
    return "a file that cannot be read";
  }
}

void check_same_run(Coordinator& ranks, const std::vector<RunFact>& facts) {
  const std::string text = text_of(facts);
  const std::vector<std::string> digests = ranks.all_gather(to_hex(hash_of(text)));
  const auto same = [&](const std::string& d) { return d == digests.front(); };
  if (std::ranges::all_of(digests, same)) return;
  const std::vector<std::string> found = differences(ranks.all_gather(text));
  ranks.wait_before_common_error();
  const bool said_here =
      ranks.rank() == 0 || !same(digests[static_cast<std::size_t>(ranks.rank())]);
  throw DifferentRuns(
      fmt::format("the ranks do not run the same: {}. Start all of them with the same program, "
                  "command and recipe",
                  fmt::join(found, "; ")),
      said_here);
}

}  // namespace gradwire
