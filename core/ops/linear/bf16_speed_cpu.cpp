#include <algorithm>
#include <chrono>

#include "core/ops/linear/bf16_speed.h"
#include "core/ops/linear/linear.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kWidth = 256, kInner = 512;
constexpr std::int64_t kRowsOfThread = 64, kFewestRows = 128, kMostRows = 1024;
constexpr int kRepeats = 4;  // the first makes plans

Tensor random(Context& cx, const Shape& shape, DType dtype, std::uint64_t seed) {
  const Tensor wide = Tensor::empty(cx, shape, DType::kF32);
  fill_uniform(cx, wide, Rng{seed, 0}, -1.0, 1.0);
  return cast(cx, wide, dtype);
}

double best_seconds(Context& cx, DType dtype) {
  const std::int64_t rows = std::clamp(kRowsOfThread * thread_count(), kFewestRows, kMostRows);
  Parameter up, down;
  up.value = random(cx, {kInner, kWidth}, DType::kF32, 1);
  down.value = random(cx, {kWidth, kInner}, DType::kF32, 2);
  const Tensor x = random(cx, {rows, kWidth}, dtype, 3), dy = random(cx, {rows, kWidth}, dtype, 4);
  double best = 0.0;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    Tape tape;
    const Var h = linear(cx, tape, tape.input(x), tape.param(up));
    tape.backward(cx, linear(cx, tape, h, tape.param(down)), dy);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    best = best == 0.0 ? taken.count() : std::min(best, taken.count());
  }
  return best;
}

}  // namespace

double seconds_in_f32() {
  Runtime runtime;
  return best_seconds(runtime.context(), DType::kF32);
}

double seconds_in_bf16(Bf16Path path) {
  Runtime runtime;
  use_bf16_path(runtime.context(), path);
  return best_seconds(runtime.context(), DType::kBf16);
}

}  // namespace gradwire::cpu
