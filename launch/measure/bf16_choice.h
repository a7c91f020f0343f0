// How this run makes its bf16 matrix products on the CPU: in the way that was measured to be the
// fastest one on this processor. The ways differ in the last bits of their results, so that the
// choice is kept, and ranks on processors of one kind make it together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/ops/linear/bf16_unit.h"
#include "train/coordinator.h"

namespace gradwire {

// What is measured; replaced in tests.
struct Bf16Meter {
  std::vector<cpu::Bf16Path> paths;  // to choose from, at least one
  std::function<double(cpu::Bf16Path)> seconds_in_bf16;
  std::function<double()> seconds_in_f32;
};
Bf16Meter bf16_meter();

struct Bf16Choice {
  cpu::Bf16Path path = cpu::Bf16Path::kWiden;
  double against_f32 = 1.0;  // how many times as fast as f32
  bool remembered = false;   // from an earlier measurement
};

// Of the file `remembered_in`, or else measured and written there; if that fails it is measured
// again next time. An empty name: neither read nor written. A choice that the meter does not offer
// is none.
Bf16Choice choose_bf16(const Bf16Meter& meter, const std::string& remembered_in);

// Ranks with the same `kind` of processor take the choice of the first of them. Collective.
Bf16Choice agree_on_bf16(Coordinator& ranks, const std::string& kind, const Bf16Choice& mine);

// "bf16            by onednn, 1.8 times as fast as f32 (measured)", and advice if f32 is faster.
std::string to_text(const Bf16Choice& choice);

// All of it, for bf16 products of `cx` and its copies with so many threads: gives the text of rank
// 0. Remembers in gradwire/ of the user's folder of caches (XDG_CACHE_HOME, else ~/.cache), by
// processor, library, program and threads. Collective.
std::string set_up_bf16(Context& cx, Coordinator& ranks);

}  // namespace gradwire
