// Linear layers and attention of the benchmark decoder against the matrix unit: `share` is their
// rate over that of a 512 x 512 x 512 f32 product that stays in the cache, one per thread at once,
// best of twenty in the same run. bf16 is counted against the same f32 limit.
#include <algorithm>
#include <chrono>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/ops/attention/attention.h"
#include "core/ops/linear/block_gemm.h"
#include "core/ops/linear/linear.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

double limit_flops_per_s() {
  constexpr std::int64_t kSide = 512;
  constexpr std::size_t kSize = kSide * kSide;
  const int threads = thread_count();
  std::vector<std::vector<float>> rooms(static_cast<std::size_t>(threads),
                                        std::vector<float>(3 * kSize, 1.0F));
  double best_s = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    parallel_for(threads, 1, [&](std::int64_t t, std::int64_t) {
      const cpu::SingleThreadScope single;
      float* room = rooms[static_cast<std::size_t>(t)].data();
      cpu::block_gemm({kSide, kSide, kSide}, {room, kSide}, {room + kSize, kSide}, 0.0F,
                      {room + 2 * kSize, kSide});
    });
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    best_s = std::min(best_s, s.count());
  }
  return 2.0 * static_cast<double>(threads) * kSide * kSide * kSide / best_s;
}

void report(benchmark::State& state, double flops) {
  const double done = flops * static_cast<double>(state.iterations());
  state.counters["flops"] = benchmark::Counter(done, benchmark::Counter::kIsRate);
  state.counters["share"] =
      benchmark::Counter(done / limit_flops_per_s(), benchmark::Counter::kIsRate);
}

Tensor uniform(Context& cx, const Shape& shape, DType dtype, std::uint64_t seed) {
  const Tensor t = Tensor::empty(cx, shape, DType::kF32);
  fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
  return cast(cx, t, dtype);
}

// Arguments: outputs, inputs, 1 for bf16. Forward, input gradient and weight gradient of 2048 rows.
void linear_step(benchmark::State& state) {
  const std::int64_t rows = 2048, n = state.range(0), k = state.range(1);
  const DType dtype = state.range(2) != 0 ? DType::kBf16 : DType::kF32;
  Runtime runtime;
  Context& cx = runtime.context();
  Parameter w;
  w.name = "w";
  w.value = uniform(cx, {n, k}, DType::kF32, 1);
  const Tensor x = uniform(cx, {rows, k}, dtype, 2), dy = uniform(cx, {rows, n}, dtype, 3);
  for (auto _ : state) {
    Tape tape;
    clear_grad(w);
    tape.backward(cx, linear(cx, tape, tape.input(x), tape.param(w)), dy);
  }
  report(state, 3.0 * 2.0 * static_cast<double>(rows * n * k));
}
BENCHMARK(linear_step)
    ->ArgsProduct({{384, 1024, 4096}, {384}, {0, 1}})
    ->Args({384, 1024, 0})
    ->Args({384, 1024, 1})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// Argument: 1 for bf16. Causal, 8 x 256 tokens, 6 heads of 64; only what causality leaves counts.
void attention_step(benchmark::State& state) {
  constexpr std::int64_t kBatch = 8, kTime = 256, kHeads = 6, kWidth = 64;
  const DType dtype = state.range(0) != 0 ? DType::kBf16 : DType::kF32;
  Runtime runtime;
  Context& cx = runtime.context();
  const Shape shape{kBatch, kTime, kHeads * kWidth};
  const Tensor q = uniform(cx, shape, dtype, 1), k = uniform(cx, shape, dtype, 2),
               v = uniform(cx, shape, dtype, 3), dy = uniform(cx, shape, dtype, 4);
  for (auto _ : state) {
    Tape tape;
    const Var y = attention(cx, tape, tape.input(q), tape.input(k), tape.input(v),
                            {.heads = kHeads, .kv_heads = kHeads});
    tape.backward(cx, y, dy);
  }
  const double scores = 0.5 * kBatch * kHeads * kTime * (kTime + 1);
  report(state, 7.0 * 2.0 * scores * kWidth);
}
BENCHMARK(attention_step)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gradwire

BENCHMARK_MAIN();
