// Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume.
#pragma once

#include <cstdint>
#include <string_view>

namespace gradwire {

enum class Decay : std::uint8_t { kConstant, kLinear, kCosine, kInverseSqrt };

struct ScheduleConfig {
  Decay decay = Decay::kCosine;
  double peak_lr = 0.0;
  std::int64_t warmup_steps = 0;  // the rate rises in a line and reaches the peak at this step
  std::int64_t total_steps = 0;   // where linear and cosine end; later steps keep the last rate
  double final_ratio = 0.0;       // of the peak: where linear and cosine end, below which
                                  // inverse_sqrt does not fall
};

const char* name_of(Decay decay);
// "constant", "linear", "cosine" or "inverse_sqrt"; Error(kConfig) otherwise.
Decay decay_named(std::string_view name);

// Throws Error(kConfig), naming the field, for a schedule that cannot be followed.
void check_schedule(const ScheduleConfig& config);

// The rate of update `step`, counted from 1. Past the warm-up of w steps: linear and cosine fall
// (Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5, one period) until total_steps; inverse_sqrt is
// peak * sqrt(max(w, 1) / step) (Vaswani et al., "Attention is all you need", 2017, eq. 3).
double lr_at(const ScheduleConfig& config, std::int64_t step);

}  // namespace gradwire
