// Codecs against memory. Every figure is a ratio to memcpy of the same elements, best of several in
// the same run: `memcpy_ratio` compares bytes moved per second, counting what the algorithm must
// read and write once. `roofline` compares the fused momentum, error feedback and encoding pass
// with the cheapest pass over the same streams: with the momentum as floats, and as the payload in
// which it came. Top-k is compared with std::nth_element.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "comm/codec/codec.h"
#include "core/codec_names.h"
#include "core/memory.h"
#include "core/parallel_for.h"
#include "core/tensor.h"

namespace gradwire {
namespace {

constexpr std::int64_t kElements = std::int64_t{1} << 24;  // 64 MiB an array: far above any cache
constexpr std::int64_t kGrain = std::int64_t{1} << 16;
constexpr int kRepeats = 7;

double best_s(const std::function<void()>& f) {
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

// Inputs, shared by all benchmarks.
struct Arrays {
  Runtime runtime;
  Tensor x, momentum, residual, to, payload;
  Arrays() {
    Context& cx = runtime.context();
    x = Tensor::zeros(cx, {kElements}, DType::kF32);
    momentum = Tensor::zeros(cx, {kElements}, DType::kF32);
    residual = Tensor::zeros(cx, {kElements}, DType::kF32);
    to = Tensor::zeros(cx, {kElements}, DType::kF32);
    payload = Tensor::zeros(cx, {5 * kElements}, DType::kU8);
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> some(std::size_t{1} << 20);
    for (float& v : some)
      v = normal(engine);
    for (std::int64_t i = 0; i < kElements; ++i) {
      const auto at = static_cast<std::size_t>(i);
      x.data<float>()[i] = some[at % some.size()] * (1.0F + 1e-3F * static_cast<float>(i >> 20));
      momentum.data<float>()[i] = some[7 * at % some.size()];
    }
  }
  std::span<float> all(const Tensor& t) const {
    return {t.data<float>(), static_cast<std::size_t>(kElements)};
  }
  std::span<std::byte> out(const Codec& codec) const {
    return {reinterpret_cast<std::byte*>(payload.data<std::uint8_t>()), codec.max_bytes(kElements)};
  }
};

Arrays& arrays() {
  static Arrays shared;
  return shared;
}

double memcpy_bytes_per_s() {
  const Arrays& a = arrays();
  const double s = best_s([&] {
    parallel_for(kElements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(a.to.data<float>() + begin, a.x.data<float>() + begin,
                  static_cast<std::size_t>(end - begin) * sizeof(float));
    });
  });
  return 2.0 * sizeof(float) * static_cast<double>(kElements) / s;
}

// Three arrays read, or two, one of them updated.
double limit_bytes_per_s(bool momentum) {
  const Arrays& a = arrays();
  const double s = best_s([&] {
    parallel_for(kElements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      float* __restrict residual = a.residual.data<float>();
      const float* __restrict x = a.x.data<float>();
      const float* __restrict m = a.momentum.data<float>();
      if (momentum) {
        for (std::int64_t i = begin; i < end; ++i)
          residual[i] = (x[i] + m[i]) - residual[i];
      } else {
        for (std::int64_t i = begin; i < end; ++i)
          residual[i] = x[i] - residual[i];
      }
    });
  });
  fill(arrays().runtime.context(), arrays().residual, 0.0);
  return (momentum ? 4.0 : 3.0) * sizeof(float) * static_cast<double>(kElements) / s;
}

enum Pass { kEncode, kFeedback, kCheckedFeedback, kMomentum, kMomentumCode, kDecode, kDecodeAdd };

void run(benchmark::State& state, const CodecConfig& config, Pass pass) {
  const Arrays& a = arrays();
  const auto codec = make_codec(config);
  const std::span<std::byte> out = a.out(*codec);
  fill(arrays().runtime.context(), arrays().residual, 0.0);
  CodecInput in{.x = a.all(a.x)};
  if (pass != kEncode) in.residual = a.all(a.residual);
  in.known_finite = pass != kCheckedFeedback;
  if (pass == kMomentum) {
    in.momentum = a.all(a.momentum);
    in.beta = 0.9F;
  }
  const std::size_t payload = codec->encode(in, {}, out);
  if (pass == kMomentumCode) {
    in.momentum_code = out;
    in.beta = 0.9F;
  }
  const double floats = pass == kEncode || pass == kDecode ? 1.0
                        : pass == kDecodeAdd               ? 2.0
                        : pass == kMomentum                ? 4.0
                                                           : 3.0;
  const double bytes =
      floats * sizeof(float) * static_cast<double>(kElements) + static_cast<double>(payload);
  const double copy = memcpy_bytes_per_s();
  double best = 1e9;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    if (pass == kDecode) {
      codec->decode(out, a.all(a.to));
    } else if (pass == kDecodeAdd) {
      codec->decode_add(out, 0.5F, a.all(a.to));
    } else {
      codec->encode(in, {}, out);
    }
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - begin;
    best = std::min(best, s.count());
  }
  state.counters["bytes_per_s"] = bytes / best;
  state.counters["memcpy_ratio"] = bytes / best / copy;
  if (pass == kMomentum || pass == kMomentumCode)
    state.counters["roofline"] = bytes / best / limit_bytes_per_s(pass == kMomentum);
}

void top_one_percent(benchmark::State& state) {
  const Arrays& a = arrays();
  const auto codec = make_codec({.name = "topk"});
  const auto select = [&] { codec->encode(a.all(a.x), {}, a.out(*codec)); };
  const double sort_s = best_s([&] {
    const std::span<float> to = a.all(a.to);
    std::ranges::copy(a.all(a.x), to.begin());
    std::nth_element(to.begin(), to.begin() + kElements / 100, to.end(),
                     [](float p, float q) { return std::abs(p) > std::abs(q); });
  });
  for (auto _ : state)
    select();
  state.counters["faster_than_nth_element"] = sort_s / best_s(select);
}

void add_benchmarks() {
  const std::pair<const char*, Pass> passes[] = {{"encode", kEncode},
                                                 {"feedback", kFeedback},
                                                 {"checked_feedback", kCheckedFeedback},
                                                 {"momentum", kMomentum},
                                                 {"momentum_code", kMomentumCode},
                                                 {"decode", kDecode},
                                                 {"decode_add", kDecodeAdd}};
  for (const std::string_view codec : kCodecNames) {
    const std::string name(codec);
    for (const auto& [label, pass] : passes) {
      if (pass == kMomentumCode && !make_codec({.name = name})->has_blocks()) continue;
      benchmark::RegisterBenchmark(
          (name + "/" + label).c_str(),
          [name, pass = pass](benchmark::State& state) { run(state, {.name = name}, pass); })
          ->UseRealTime()
          ->Iterations(kRepeats)
          ->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RegisterBenchmark("top_one_percent", top_one_percent)
      ->UseRealTime()
      ->Iterations(kRepeats)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  gradwire::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
