#include "train/task.h"

#include <algorithm>
#include <unordered_set>

namespace gradwire {
namespace {

ParameterSet without(ParameterSet all, const ParameterSet& left_out) {
  const std::unordered_set<const Parameter*> out(left_out.begin(), left_out.end());
  std::erase_if(all, [&](const Parameter* p) { return out.contains(p); });
  return all;
}

}  // namespace

ParameterSet Task::trained() {
  ParameterSet all = parameters();
  std::erase_if(all, [](const Parameter* p) { return !p->trainable; });
  return all;
}

ParameterSet Task::saved() {
  return parameters();
}

ParameterSet frozen_in(Task& task) {
  return without(task.parameters(), task.trained());
}

ParameterSet known_by_digest_in(Task& task) {
  return without(task.parameters(), task.saved());
}

}  // namespace gradwire
