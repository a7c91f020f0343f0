// Ops against the memory they must move. At 16 million elements each op here is bound by bandwidth:
// `share` is its traffic per second over that of the cheapest pass with the same streams (a sum, a
// copy or a triad), the best of each in the same run. `ns_per_element` at 16 thousand elements,
// where everything is in cache, shows what the arithmetic costs.
#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/dropout/dropout.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/norm/norm.h"
#include "core/ops/softmax/softmax.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kLarge = std::int64_t{1} << 24;
constexpr std::int64_t kSmall = std::int64_t{1} << 14;
constexpr std::int64_t kWidth = 1024;
constexpr std::int64_t kGrain = std::int64_t{1} << 15;
constexpr int kRepeats = 10;

double best_seconds(const std::function<void()>& f) {
  double best = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    benchmark::ClobberMemory();
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    best = std::min(best, s.count());
  }
  return best;
}

enum class Pass { kSum, kCopy, kTriad };

// Bytes per second of a pass over arrays of kLarge floats.
double limit_bytes_per_s(Pass pass) {
  Runtime runtime;
  Context& cx = runtime.context();
  const Tensor a = Tensor::zeros(cx, {kLarge}, DType::kF32);
  const Tensor b = Tensor::zeros(cx, {kLarge}, DType::kF32);
  const Tensor c = Tensor::zeros(cx, {kLarge}, DType::kF32);
  float* __restrict y = a.data<float>();
  const float* __restrict x = b.data<float>();
  const float* __restrict z = c.data<float>();
  const double seconds = best_seconds([&] {
    parallel_for(kLarge, kGrain, [&](std::int64_t from, std::int64_t to) {
      float sum = 0.0F;
      if (pass == Pass::kSum) {
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = from; i < to; ++i)
          sum += x[i];
      } else if (pass == Pass::kCopy) {
#pragma omp simd
        for (std::int64_t i = from; i < to; ++i)
          y[i] = x[i];
      } else {
#pragma omp simd
        for (std::int64_t i = from; i < to; ++i)
          y[i] = x[i] + 0.5F * z[i];
      }
      benchmark::DoNotOptimize(sum);
    });
  });
  const double arrays = pass == Pass::kSum ? 1.0 : pass == Pass::kCopy ? 2.0 : 3.0;
  return arrays * sizeof(float) * static_cast<double>(kLarge) / seconds;
}

struct Cost {
  double arrays;  // read and written, of the input's size
  Pass pass;
};

struct Subject {
  const char* name;
  int inputs;  // of [n / kWidth, kWidth]
  Cost forward, backward;
  std::function<Var(Context&, Tape&, const std::vector<Var>&)> build;
};

struct Seconds {
  double forward = 1e9, backward = 1e9;
};

// The best of a few; inputs are made anew each time, because an op may write over them.
Seconds measure(const Subject& s, std::int64_t n, DType type) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto now = [] { return std::chrono::steady_clock::now(); };
  Seconds best;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    Tape tape;
    std::vector<Var> inputs;
    for (int i = 0; i < s.inputs; ++i) {
      const Tensor t = Tensor::empty(cx, {n / kWidth, kWidth}, type);
      fill(cx, t, 0.25 * i - 0.5);
      inputs.push_back(tape.input(t));
    }
    const auto begin = now();
    const Var y = s.build(cx, tape, inputs);
    const auto middle = now();
    const Tensor seed = Tensor::empty(cx, tape.value(y).shape(), tape.value(y).dtype());
    fill(cx, seed, 1.0);
    const auto before = now();
    tape.backward(cx, y, seed);
    const auto end = now();
    best.forward = std::min(best.forward, std::chrono::duration<double>(middle - begin).count());
    best.backward = std::min(best.backward, std::chrono::duration<double>(end - before).count());
  }
  return best;
}

using Limits = std::map<Pass, double>;

void report(benchmark::State& state, const Subject& s, std::int64_t n, DType type,
            const Limits& limits) {
  Seconds best;
  for (auto _ : state) {
    best = measure(s, n, type);
    state.SetIterationTime(best.forward + best.backward);
  }
  const double elements = static_cast<double>(n);
  const auto share = [&](const Cost& c, double seconds) {
    const double bytes = c.arrays * elements * static_cast<double>(size_of(type));
    return bytes / seconds / limits.at(c.pass);
  };
  if (n == kLarge) {
    state.counters["share_forward"] = share(s.forward, best.forward);
    state.counters["share_backward"] = share(s.backward, best.backward);
  } else {
    state.counters["ns_per_element_forward"] = 1e9 * best.forward / elements;
    state.counters["ns_per_element_backward"] = 1e9 * best.backward / elements;
  }
}

Tensor constant(Context& cx, const Shape& shape, DType type) {
  Tensor t = Tensor::empty(cx, shape, type);
  fill(cx, t, 1.0);
  return t;
}

std::vector<Subject> subjects() {
  const Cost in_out{2, Pass::kCopy}, two_in{3, Pass::kTriad};
  using Vars = std::vector<Var>;
  return {
      {"add",
       2,
       two_in,
       {0, Pass::kCopy},
       [](Context& c, Tape& t, const Vars& x) { return add(c, t, x[0], x[1]); }},
      {"mul",
       2,
       two_in,
       {6, Pass::kTriad},
       [](Context& c, Tape& t, const Vars& x) { return mul(c, t, x[0], x[1]); }},
      {"silu", 1, in_out, two_in,
       [](Context& c, Tape& t, const Vars& x) { return unary(c, t, Unary::kSilu, x[0]); }},
      {"gelu", 1, in_out, two_in,
       [](Context& c, Tape& t, const Vars& x) { return unary(c, t, Unary::kGelu, x[0]); }},
      {"gated_silu",
       2,
       two_in,
       {5, Pass::kTriad},
       [](Context& c, Tape& t, const Vars& x) { return gated(c, t, Unary::kSilu, x[0], x[1]); }},
      {"rmsnorm", 1, in_out, two_in,
       [](Context& c, Tape& t, const Vars& x) {
         return rmsnorm(c, t, x[0], t.input(constant(c, {kWidth}, DType::kF32)), 1e-6);
       }},
      {"layernorm", 1, in_out, two_in,
       [](Context& c, Tape& t, const Vars& x) {
         const Var w = t.input(constant(c, {kWidth}, DType::kF32));
         return layernorm(c, t, x[0], w, t.input(constant(c, {kWidth}, DType::kF32)), 1e-6);
       }},
      {"softmax", 1, in_out, two_in,
       [](Context& c, Tape& t, const Vars& x) { return softmax(c, t, x[0]); }},
      {"cross_entropy",
       1,
       {1, Pass::kSum},
       in_out,
       [](Context& c, Tape& t, const Vars& x) {
         const std::int64_t rows = t.value(x[0]).dim(0);
         return cross_entropy(c, t, x[0], Tensor::zeros(c, {rows}, DType::kI32));
       }},
      {"dropout", 1, in_out, in_out,
       [](Context& c, Tape& t, const Vars& x) { return dropout(c, t, x[0], 0.1); }},
  };
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  using namespace gradwire;
  Limits limits;
  for (const Pass pass : {Pass::kSum, Pass::kCopy, Pass::kTriad}) {
    limits[pass] = limit_bytes_per_s(pass);
  }
  for (const Subject& s : subjects()) {
    for (const std::int64_t n : {kLarge, kSmall}) {
      for (const DType type : {DType::kF32, DType::kBf16}) {
        const std::string name =
            std::string(s.name) + "/" + name_of(type) + "/" + std::to_string(n);
        benchmark::RegisterBenchmark(
            name.c_str(), [=](benchmark::State& state) { report(state, s, n, type, limits); })
            ->UseManualTime()
            ->Iterations(1);
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("copy_bytes_per_s", std::to_string(limits.at(Pass::kCopy)));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
