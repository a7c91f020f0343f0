// Optimizer steps against the memory they must move. An update does a few operations per element,
// so its limit is bandwidth: `share` is its traffic per second over that of the cheapest pass with
// the same streams (three arrays updated in place from a fourth), best of ten in the same run.
#include <algorithm>
#include <chrono>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/parallel_for.h"
#include "optim/adamw.h"
#include "optim/sgd.h"

namespace gradwire {
namespace {

constexpr std::int64_t kElements = std::int64_t{1} << 24;  // 64 MiB an array: far above any cache
constexpr std::int64_t kGrain = std::int64_t{1} << 15;

// The least a pass over value, gradient and two moments can cost: the same streams, one addition
// each.
double limit_bytes_per_s() {
  Runtime runtime;
  Context& cx = runtime.context();
  const Tensor value = Tensor::zeros(cx, {kElements}, DType::kF32);
  const Tensor m = Tensor::zeros(cx, {kElements}, DType::kF32);
  const Tensor v = Tensor::zeros(cx, {kElements}, DType::kF32);
  const Tensor grad = Tensor::zeros(cx, {kElements}, DType::kF32);
  double best_s = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(kElements, kGrain, [&](std::int64_t from, std::int64_t to) {
      float* __restrict a = value.data<float>();
      float* __restrict b = m.data<float>();
      float* __restrict c = v.data<float>();
      const float* __restrict g = grad.data<float>();
      for (std::int64_t j = from; j < to; ++j) {
        a[j] += g[j];
        b[j] += g[j];
        c[j] += g[j];
      }
    });
    benchmark::ClobberMemory();
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    best_s = std::min(best_s, s.count());
  }
  return 7.0 * sizeof(float) * static_cast<double>(kElements) / best_s;
}

void run(benchmark::State& state, double arrays_moved, auto make) {
  Runtime runtime;
  Context& cx = runtime.context();
  Parameter p;
  p.name = "p";
  p.value = Tensor::zeros(cx, {kElements}, DType::kF32);
  p.grad = Tensor::zeros(cx, {kElements}, DType::kF32);
  fill(cx, p.grad, 0.5);
  p.grad_empty = false;
  const std::vector<Parameter*> params = {&p};
  const auto optimizer = make(cx, params);
  std::int64_t step = 0;
  for (auto _ : state)
    optimizer->apply(cx, {.step = ++step, .lr = 1e-3});
  const double bytes = arrays_moved * sizeof(float) * static_cast<double>(kElements) *
                       static_cast<double>(state.iterations());
  state.counters["bytes_per_s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
  state.counters["share"] =
      benchmark::Counter(bytes / limit_bytes_per_s(), benchmark::Counter::kIsRate);
}

void adamw(benchmark::State& state) {  // reads value, gradient, m, v; writes value, m, v
  run(state, 7.0, [](Context& cx, const auto& p) { return make_adamw(cx, p, {}); });
}
void sgd_momentum(benchmark::State& state) {  // reads value, gradient, m; writes value, m
  run(state, 5.0, [](Context& cx, const auto& p) { return make_sgd(cx, p, {.momentum = 0.9}); });
}
BENCHMARK(adamw)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sgd_momentum)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gradwire
