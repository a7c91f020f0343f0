// What ranks did and when, planned (dry_run.h) or measured. Times are seconds from any common
// origin.
#pragma once

#include "parallel/pipeline/schedule.h"

namespace gradwire {

struct TimelineEvent {
  int rank = 0;
  Action action;
  double begin_s = 0.0;
  double end_s = 0.0;
};

}  // namespace gradwire
