// Parameters that a checkpoint names by digest and does not hold.
#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "parallel/replica_check.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {

std::vector<ParameterDigest> digests_of(Context& cx, const std::vector<Parameter*>& params) {
  std::vector<ParameterDigest> digests;
  for (Parameter* p : params) {
    const std::string what = fmt::format("{} {} {:x}", name_of(p->value.dtype()),
                                         to_string(p->value.shape()), hash_of(cx, {&p, 1}));
    digests.push_back({p->name, hash_of(what)});
  }
  return digests;
}

std::vector<std::string> frozen_problems(const Manifest& manifest,
                                         const std::vector<ParameterDigest>& here) {
  std::unordered_map<std::string, std::uint64_t> then;
  for (const ParameterDigest& p : manifest.frozen)
    then.emplace(p.name, p.xxh3);
  std::vector<std::string> unknown, changed;
  for (const ParameterDigest& p : here) {
    const auto found = then.find(p.name);
    if (found == then.end()) {
      unknown.push_back(p.name);
    } else if (found->second != p.xxh3) {
      changed.push_back(p.name);
    }
  }
  const auto some = [](const std::vector<std::string>& names) {
    return names.size() == 1 ? fmt::format("'{}'", names[0])
                             : fmt::format("'{}' and {} more", names[0], names.size() - 1);
  };
  std::vector<std::string> problems;
  if (!unknown.empty()) {
    problems.push_back(fmt::format("frozen here, but not when it was saved: {}", some(unknown)));
  }
  if (!changed.empty()) {
    problems.push_back(
        fmt::format("of another base model: the frozen {} {} not what {} when it "
                    "was saved",
                    some(changed), changed.size() == 1 ? "is" : "are",
                    changed.size() == 1 ? "it was" : "they were"));
  }
  return problems;
}

void merge_frozen(std::vector<ParameterDigest>& all, const std::vector<ParameterDigest>& part) {
  for (const ParameterDigest& p : part) {
    const auto at = std::ranges::lower_bound(all, p.name, {}, &ParameterDigest::name);
    if (at == all.end() || at->name != p.name) {
      all.insert(at, p);
    } else if (at->xxh3 != p.xxh3) {
      throw Error(ErrorKind::kCheckpoint,
                  fmt::format("the frozen parameter '{}' differs between ranks", p.name));
    }
  }
}

}  // namespace gradwire
