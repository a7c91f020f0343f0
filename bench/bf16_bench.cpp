// The three products of a linear layer in bf16 on one core, in every way that this processor has of
// making them, and in f32: forward, gradient of the input and of the weight, for the layers of
// bench/step.toml (2048 rows) and for squares. Turns are taken between a loop of vdpbf16ps on
// registers, which is the peak, and the products. A share is a rate over the peak, each the 0.75
// quantile of its turns; in brackets the quartiles of the ratio within a turn.
//
// Usage: bf16_bench [TURNS]
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/ops/linear/bf16_dot.h"
#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/gemm.h"
#include "core/parallel_for.h"
#include "core/tensor.h"

namespace gradwire {
namespace {

using Rates = std::vector<double>;

// Of the processor by this thread: other programs on the machine take none of it.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Nothing but the instruction, on as many sums as hide its latency: operations per second.
double peak_rate() {
  constexpr int kSums = 12, kRounds = 100000;
  const double begin = processor_seconds();
  for (int i = 0; i < kRounds; ++i) {
    asm volatile(
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm16\n vdpbf16ps %%zmm31, %%zmm31, %%zmm17\n"
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm18\n vdpbf16ps %%zmm31, %%zmm31, %%zmm19\n"
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm20\n vdpbf16ps %%zmm31, %%zmm31, %%zmm21\n"
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm22\n vdpbf16ps %%zmm31, %%zmm31, %%zmm23\n"
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm24\n vdpbf16ps %%zmm31, %%zmm31, %%zmm25\n"
        "vdpbf16ps %%zmm31, %%zmm31, %%zmm26\n vdpbf16ps %%zmm31, %%zmm31, %%zmm27\n" ::
            : "memory");
  }
  return 64.0 * kSums * kRounds / (processor_seconds() - begin);
}

struct Way {
  std::string name;
  DType dtype;
  cpu::Bf16Path path;
};

std::vector<Way> ways() {
  std::vector<Way> all{{"f32", DType::kF32, cpu::Bf16Path::kWiden}};
  for (const cpu::Bf16Path path : cpu::bf16_paths())
    all.push_back({name_of(path), DType::kBf16, path});
  return all;
}

struct Layer {
  std::int64_t rows, outputs, inputs;
};
enum class Product { kForward, kInputGradient, kWeightGradient };

// One product with memory of its own.
class Subject {
 public:
  Subject(const Way& way, Layer l, Product product) {
    Context& cx = runtime_.context();
    cpu::use_bf16_path(cx, way.path);
    const bool of_weight = product == Product::kWeightGradient;
    const bool forward = product == Product::kForward;
    g_.m = of_weight ? l.outputs : l.rows;
    g_.n = forward ? l.outputs : l.inputs;
    g_.k = of_weight ? l.rows : forward ? l.inputs : l.outputs;
    a_ = random(cx, of_weight ? Shape{g_.k, g_.m} : Shape{g_.m, g_.k}, way.dtype, 1);
    b_ = random(cx, forward ? Shape{g_.n, g_.k} : Shape{g_.k, g_.n}, way.dtype, 2);
    c_ = Tensor::zeros(cx, {g_.m, g_.n}, of_weight ? DType::kF32 : way.dtype);
    g_.a = {a_.raw(), a_.dim(1), of_weight, way.dtype};
    g_.b = {b_.raw(), b_.dim(1), forward, way.dtype};
    g_.c = c_.raw();
    g_.ldc = g_.n;
    g_.c_dtype = c_.dtype();
    g_.accumulate = of_weight;
    if (!of_weight && way.dtype == DType::kBf16 && cpu::use_bf16_unit(cx)) {
      packed_ = cpu::pack(cx, g_.b, g_.k, g_.n);
      g_.b.packed = packed_.get();
    }
  }

  double rate() {
    constexpr double kLeast = 2e9;  // operations in a turn
    const double flops = 2.0 * static_cast<double>(g_.m * g_.n * g_.k);
    const int repeats = static_cast<int>(kLeast / flops) + 1;
    const double begin = processor_seconds();
    for (int i = 0; i < repeats; ++i)
      gemm(runtime_.context(), g_);
    return repeats * flops / (processor_seconds() - begin);
  }

 private:
  static Tensor random(Context& cx, const Shape& shape, DType dtype, std::uint64_t seed) {
    const Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }

  Runtime runtime_;
  Tensor a_, b_, c_;
  std::shared_ptr<cpu::PackedMatrix> packed_;
  Gemm g_;
};

double quantile(Rates values, double q) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

void measure(Layer layer, Product product, int turns) {
  constexpr const char* kNames[] = {"y", "dx", "dw"};
  const std::vector<Way> all = ways();
  std::deque<Subject> subjects;
  for (const Way& way : all)
    subjects.emplace_back(way, layer, product);
  Rates peaks;
  std::vector<Rates> rates(all.size()), shares(all.size());
  for (int turn = -1; turn < turns; ++turn) {  // the first one makes plans
    const double peak = peak_rate();
    if (turn >= 0) peaks.push_back(peak);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double rate = subjects[i].rate();
      if (turn < 0) continue;
      rates[i].push_back(rate);
      shares[i].push_back(rate / peak);
    }
  }
  fmt::print("{:>5} {:>5} {:>5} {:3} {:7.1f}", layer.rows, layer.outputs, layer.inputs,
             kNames[static_cast<int>(product)], 1e-9 * quantile(peaks, 0.75));
  for (std::size_t i = 0; i < all.size(); ++i) {
    fmt::print("   {} {:.3f} [{:.3f} {:.3f}]", all[i].name,
               quantile(rates[i], 0.75) / quantile(peaks, 0.75), quantile(shares[i], 0.25),
               quantile(shares[i], 0.75));
  }
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  using namespace gradwire;
  const int turns = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  if (bf16_dot_kernels() == nullptr) {
    fmt::print("this processor has no AVX512_BF16\n");
    return 1;
  }
  set_thread_count(1);
  fmt::print(" rows   out    in     peak GFLOP/s, and shares of it\n");
  for (const Layer layer : {Layer{2048, 384, 384},
                            {2048, 1024, 384},
                            {2048, 384, 1024},
                            {2048, 4096, 384},
                            {1024, 1024, 1024}}) {
    for (const Product p : {Product::kForward, Product::kInputGradient, Product::kWeightGradient})
      measure(layer, p, turns);
  }
  return 0;
}
