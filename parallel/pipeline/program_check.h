// What can be said of a schedule's programs without running them against each other: whether each
// rank computes all of its stages once, from what it has, and how much it holds meanwhile.
#pragma once

#include <string>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace gradwire {

struct ProgramCheck {
  std::string problem;         // the first one; empty: none
  std::vector<int> peak_live;  // as in DryRun
  std::vector<int> peak_split;
};
ProgramCheck check_programs(const Schedule& s);

}  // namespace gradwire
