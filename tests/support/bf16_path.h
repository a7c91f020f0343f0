// A context whose bf16 products on the CPU go one way.
#pragma once

#include "core/context.h"
#include "core/ops/linear/bf16_unit.h"

namespace gradwire::test {

struct OnBf16Path {
  explicit OnBf16Path(cpu::Bf16Path path) : cx(runtime.context()) { cpu::use_bf16_path(cx, path); }

  Runtime runtime{RuntimeOptions{{}, {.poison_freed = true}}};
  Context& cx;
};

}  // namespace gradwire::test
