// Optimizer steps against the memory they must move. An update does a few operations per element,
// so its limit is bandwidth: `share` is its traffic per second over that of the cheapest pass with
// the same streams (three arrays updated in place from a fourth), best of ten in the same run.
// `of_adamw` is the time of a step over that of AdamW's, each best of ten, taken in turns.
#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "core/parallel_for.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "optim/onebit_lamb.h"
#include "optim/sgd.h"
#include "optim/zero_one_adam.h"

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

// All parameters in one bucket without gaps.
std::vector<FlatBucket> bucket_of(const std::vector<Parameter*>& params) {
  return {{params[0]->grad, params, {0}}};
}

// An optimizer of one large parameter, past its first step. What it exchanges goes through the
// reducer of signs with error feedback, with no other rank.
class Subject {
 public:
  template <class Make>
  explicit Subject(const Make& make) {
    p_.name = "p";
    p_.value = Tensor::zeros(cx_, {kElements}, DType::kF32);
    p_.grad = Tensor::zeros(cx_, {kElements}, DType::kF32);
    fill(cx_, p_.grad, 0.5);
    p_.grad_empty = false;
    const std::vector<Parameter*> params = {&p_};
    layout_ = bucket_of(params);
    optimizer_ = make(cx_, params);
    reducer_ = make_compressed_reducer(cx_, *world_[0], layout_, {});
    step();
  }
  void step() {
    const StepInfo info{.step = ++step_, .lr = 1e-3, .grad_norm = 1.0};
    if (optimizer_->needs(false).exchange) {
      reducer_->submit(cx_, 0, *optimizer_->exchange(cx_, info)[0]);
      reducer_->finish(cx_);
    }
    optimizer_->apply(cx_, info);
  }
  double timed_step() {
    const auto begin = std::chrono::steady_clock::now();
    step();
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    return s.count();
  }

 private:
  Runtime runtime_;
  Context& cx_ = runtime_.context();
  Parameter p_;
  std::vector<FlatBucket> layout_;
  std::vector<std::unique_ptr<Communicator>> world_ = make_local_world(1);
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Reducer> reducer_;
  std::int64_t step_ = 0;
};

void run(benchmark::State& state, double arrays_moved, auto make) {
  Subject subject(make);
  for (auto _ : state)
    subject.step();
  const double bytes = arrays_moved * sizeof(float) * static_cast<double>(kElements) *
                       static_cast<double>(state.iterations());
  state.counters["bytes_per_s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
  state.counters["share"] =
      benchmark::Counter(bytes / limit_bytes_per_s(), benchmark::Counter::kIsRate);
  Subject adamw([](Context& cx, const auto& p) { return make_adamw(cx, p, {}); });
  double best_s = 1e9, adamw_s = 1e9;
  for (int i = 0; i < 10; ++i) {
    best_s = std::min(best_s, subject.timed_step());
    adamw_s = std::min(adamw_s, adamw.timed_step());
  }
  state.counters["of_adamw"] = best_s / adamw_s;
}

// The least that a frozen step of 1-bit Adam can cost on floats: the network lies between the pass
// over gradient and residual and the pass over v and value, so that each reads two arrays and
// writes one, with one addition. The code, a bit for each element, is left out.
void onebit_adam_floor(benchmark::State& state) {
  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<Tensor> t;
  for (int i = 0; i < 4; ++i)
    t.push_back(Tensor::zeros(cx, {kElements}, DType::kF32));
  const auto add = [](const Tensor& to, const Tensor& from) {
    parallel_for(kElements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      float* __restrict a = to.data<float>();
      const float* __restrict b = from.data<float>();
      for (std::int64_t i = begin; i < end; ++i)
        a[i] += b[i];
    });
    benchmark::ClobberMemory();
  };
  Subject adamw([](Context& c, const auto& p) { return make_adamw(c, p, {}); });
  double best_s = 1e9, adamw_s = 1e9;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    add(t[0], t[1]);
    add(t[2], t[3]);
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    best_s = std::min(best_s, s.count());
    adamw_s = std::min(adamw_s, adamw.timed_step());
  }
  state.counters["of_adamw"] = best_s / adamw_s;
}

void adamw(benchmark::State& state) {  // reads value, gradient, m, v; writes value, m, v
  run(state, 7.0, [](Context& cx, const auto& p) { return make_adamw(cx, p, {}); });
}
void sgd_momentum(benchmark::State& state) {  // reads value, gradient, m; writes value, m
  run(state, 5.0, [](Context& cx, const auto& p) { return make_sgd(cx, p, {.momentum = 0.9}); });
}
// Reads gradient, residual, value, v; writes residual, m (past the cache), value.
void onebit_adam_frozen(benchmark::State& state) {
  run(state, 7.0, [](Context& cx, const auto& p) {
    return make_onebit_adam(cx, bucket_of(p), {.freeze = {.freeze_step = 1, .thaw_ratio = 0.0}});
  });
}
// Reads gradient, m, u, v, anchor; writes m, u, value.
void zero_one_adam_local(benchmark::State& state) {
  run(state, 8.0, [](Context& cx, const auto& p) {
    return make_zero_one_adam(cx, bucket_of(p),
                              {.var_freeze_step = 1,
                               .local_step_start = 1,
                               .local_step_scaler = 1,
                               .local_step_clipper = std::int64_t{1} << 40});
  });
}
// Reads m, its predecessor, v, fresh v; writes fresh v, direction; adds the decay and takes norms
// (direction four times, value once), and goes along the direction (value twice, direction once).
void onebit_lamb_frozen(benchmark::State& state) {
  run(state, 14.0, [](Context& cx, const auto& p) {
    return make_onebit_lamb(cx, bucket_of(p), {.freeze = {.freeze_step = 1, .thaw_ratio = 0.0}});
  });
}
BENCHMARK(adamw)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sgd_momentum)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(onebit_adam_frozen)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(onebit_adam_floor)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(zero_one_adam_local)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(onebit_lamb_frozen)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace gradwire
