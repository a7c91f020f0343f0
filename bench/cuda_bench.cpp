// What a GPU gives and what Gradwire makes of it: bandwidth and the bf16 matrix peak of the card,
// then ops forward and backward, AdamW, and whole training steps of decoders. Prints a JSON object
// a line; bench/peer_cuda.py prints the same cases for PyTorch. Usage: cuda_bench [SECONDS]: no
// case is begun after that time (default 120). Without a GPU it ends with 9.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/dropout/dropout.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/embedding/embedding.h"
#include "core/ops/linear/gemm.h"
#include "core/ops/norm/norm.h"
#include "core/ops/rope/rope.h"
#include "core/ops/shape/shape.h"
#include "models/decoder_lm.h"
#include "optim/adamw.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRows = 16384;  // tokens of the element-wise cases: 8 sequences of 2048
constexpr std::int64_t kLength = 2048;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Bench {
 public:
  explicit Bench(double budget_s)
      : runtime_(RuntimeOptions{.device = {DeviceType::kCuda, 0}, .caching = {}}),
        budget_s_(budget_s) {}

  Context& cx() { return runtime_.context(); }

  // The median time of one call over rounds of several, each round waited for once.
  double time(const std::function<void()>& f, int calls = 10, int rounds = 7) {
    for (int i = 0; i < 3; ++i)
      f();
    runtime_.synchronize();
    std::vector<double> seconds;
    for (int round = 0; round < rounds; ++round) {
      const auto begin = Clock::now();
      for (int i = 0; i < calls; ++i)
        f();
      runtime_.synchronize();
      seconds.push_back(seconds_since(begin) / calls);
    }
    std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
    return seconds[static_cast<std::size_t>(rounds / 2)];
  }

  // `work`: bytes that must move, operations that must be done, or tokens.
  void report(const std::string& name, double seconds, double work, const char* unit) {
    fmt::print("{{\"program\":\"gradwire\",\"case\":\"{}\",\"ms\":{:.4f},\"{}\":{:.2f}}}\n", name,
               1e3 * seconds, unit,
               work / seconds * (std::string(unit) == "tokens_per_s" ? 1 : 1e-9));
    std::fflush(stdout);
  }

  // Runs `body` if time is left, and says so if not. What goes wrong in one case ends that case
  // only.
  void run(const std::string& name, const std::function<void()>& body) {
    if (seconds_since(begin_) > budget_s_) {
      fmt::print("{{\"program\":\"gradwire\",\"case\":\"{}\",\"left_out\":\"no time\"}}\n", name);
      return;
    }
    try {
      body();
    } catch (const Error& e) {
      ++failures_;
      fmt::print("{{\"program\":\"gradwire\",\"case\":\"{}\",\"failed\":true}}\n", name);
      fmt::print(stderr, "{}: {}\n", name, e.what());
    }
  }

  Tensor random(const Shape& shape, DType type = DType::kBf16) {
    const Tensor wide = Tensor::empty(cx(), shape, DType::kF32);
    fill_normal(cx(), wide, Rng{++seed_, 0}, 1.0);
    return type == DType::kF32 ? wide : cast(cx(), wide, type);
  }

  std::size_t peak_bytes() { return runtime_.allocator().stats().peak_bytes; }
  void reset_peak() { runtime_.allocator().reset_peaks(); }
  int failures() const { return failures_; }

 private:
  Runtime runtime_;
  double budget_s_;
  Clock::time_point begin_ = Clock::now();
  std::uint64_t seed_ = 0;
  int failures_ = 0;
};

void bandwidth(Bench& b) {
  constexpr std::int64_t kElements = std::int64_t{1} << 28;
  const Tensor from = b.random({kElements}, DType::kF32), to = b.random({kElements}, DType::kF32);
  b.report("copy 1 GiB", b.time([&] { copy(b.cx(), to, from); }), 2.0 * 4.0 * kElements,
           "GB_per_s");
}

void product(Bench& b, std::int64_t m, std::int64_t n, std::int64_t k) {
  const Tensor a = b.random({m, k}), w = b.random({n, k});
  const Tensor c = Tensor::empty(b.cx(), {m, n}, DType::kBf16);
  Gemm g;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = {a.raw(), k, false, DType::kBf16};
  g.b = {w.raw(), k, true, DType::kBf16};
  g.c = c.raw();
  g.ldc = n;
  g.c_dtype = DType::kBf16;
  b.report(fmt::format("linear {}x{}x{}", m, n, k), b.time([&] { gemm(b.cx(), g); }),
           2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
           "GFLOP_per_s");
}

using Build = std::function<Var(Tape&, const std::vector<Var>&)>;

// Forward alone, unless its work is 0 because it does nothing outside of training; then forward and
// backward.
void op(Bench& b, const std::string& name, const std::vector<Tensor>& inputs, const Build& build,
        double forward_work, double backward_work, const char* unit) {
  Tensor seed;
  const auto pass = [&](bool backward) {
    Tape tape(backward);
    std::vector<Var> vars;
    for (const Tensor& t : inputs)
      vars.push_back(backward && t.dtype() != DType::kI32 ? tape.input(t) : tape.constant(t));
    const Var y = build(tape, vars);
    if (!backward) return;
    if (seed.numel() == 0) {
      seed = Tensor::empty(b.cx(), tape.value(y).shape(), tape.value(y).dtype());
      fill(b.cx(), seed, 0.5);
    }
    tape.backward(b.cx(), y, seed);
  };
  if (forward_work > 0.0) {
    b.report(name + " forward", b.time([&] { pass(false); }), forward_work, unit);
  }
  b.report(name + " both", b.time([&] { pass(true); }), forward_work + backward_work, unit);
}

void attention_case(Bench& b, std::int64_t batch, std::int64_t heads, std::int64_t kv_heads,
                    std::int64_t width) {
  const Tensor q = b.random({batch, kLength, heads * width});
  const Tensor k = b.random({batch, kLength, kv_heads * width});
  const Tensor v = b.random({batch, kLength, kv_heads * width});
  // Half of the scores of a causal mask, two products forward and five backward.
  const double forward = 2.0 * static_cast<double>(batch * heads * width) * kLength * kLength;
  op(
      b, fmt::format("attention B{} H{}/{} D{}", batch, heads, kv_heads, width), {q, k, v},
      [&](Tape& tape, const std::vector<Var>& x) {
        return attention(b.cx(), tape, x[0], x[1], x[2],
                         {.heads = heads, .kv_heads = kv_heads, .causal = true});
      },
      forward, 2.5 * forward, "GFLOP_per_s");
}

void elementwise(Bench& b) {
  constexpr std::int64_t kWidth = 2048;
  const Shape shape{8, kLength, kWidth};
  const double bytes = 2.0 * kRows * kWidth;  // of one bf16 tensor
  const Tensor x = b.random(shape), y = b.random(shape), w = b.random({kWidth}, DType::kF32);
  b.run("rmsnorm", [&] {
    op(
        b, "rmsnorm", {x, w},
        [&](Tape& t, const std::vector<Var>& v) { return rmsnorm(b.cx(), t, v[0], v[1], 1e-5); },
        2 * bytes, 3 * bytes, "GB_per_s");
  });
  b.run("gated silu", [&] {
    op(
        b, "gated silu", {x, y},
        [&](Tape& t, const std::vector<Var>& v) {
          return gated(b.cx(), t, Unary::kSilu, v[0], v[1]);
        },
        3 * bytes, 5 * bytes, "GB_per_s");
  });
  b.run("add", [&] {
    op(
        b, "add", {x, y},
        [&](Tape& t, const std::vector<Var>& v) { return add(b.cx(), t, v[0], v[1]); }, 3 * bytes,
        0.0, "GB_per_s");
  });
  b.run("dropout", [&] {
    op(
        b, "dropout", {x},
        [&](Tape& t, const std::vector<Var>& v) { return dropout(b.cx(), t, v[0], 0.1); }, 0.0,
        4 * bytes, "GB_per_s");
  });
  b.run("rope", [&] {
    op(
        b, "rope", {x},
        [&](Tape& t, const std::vector<Var>& v) { return rope(b.cx(), t, v[0], {.heads = 32}); },
        2 * bytes, 2 * bytes, "GB_per_s");
  });
}

void cross_entropy_case(Bench& b) {
  constexpr std::int64_t kVocabulary = 32768;
  const Tensor logits = b.random({kRows, kVocabulary});
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < kRows; ++i)
    ids.push_back(static_cast<std::int32_t>(i * 7919 % kVocabulary));
  const Tensor targets = Tensor::from(b.cx(), {kRows}, ids);
  const double bytes = 2.0 * kRows * kVocabulary;
  op(
      b, "cross-entropy V32768", {logits},
      [&](Tape& t, const std::vector<Var>& v) { return cross_entropy(b.cx(), t, v[0], targets); },
      bytes, 2 * bytes, "GB_per_s");
}

void lookup_case(Bench& b) {
  constexpr std::int64_t kVocabulary = 32768, kWidth = 2048;
  const Tensor table = b.random({kVocabulary, kWidth}, DType::kF32);
  std::vector<std::int32_t> ids;  // every other one is the same, as frequent words are
  for (std::int64_t i = 0; i < kRows; ++i)
    ids.push_back(i % 2 == 0 ? 7 : static_cast<std::int32_t>(i * 7919 % kVocabulary));
  const Tensor tokens = Tensor::from(b.cx(), {kRows}, ids);
  const double elements = static_cast<double>(kRows * kWidth);
  const double table_bytes = 4.0 * kVocabulary * kWidth;
  op(
      b, "embedding V32768", {table},
      [&](Tape& t, const std::vector<Var>& v) {
        return embedding(b.cx(), t, v[0], tokens, DType::kBf16);
      },
      6 * elements, 2 * elements + table_bytes, "GB_per_s");
}

void transpose_case(Bench& b) {
  const Tensor x = b.random({kRows, 2048});
  op(
      b, "transpose", {x},
      [&](Tape& t, const std::vector<Var>& v) { return transpose(b.cx(), t, v[0], 0, 1); },
      4.0 * kRows * 2048, 4.0 * kRows * 2048, "GB_per_s");
}

void adamw_case(Bench& b) {
  constexpr int kParameters = 64;
  constexpr std::int64_t kEach = std::int64_t{1} << 21;
  std::vector<std::unique_ptr<Parameter>> owned;
  std::vector<Parameter*> params;
  for (int i = 0; i < kParameters; ++i) {
    Parameter& p = *owned.emplace_back(std::make_unique<Parameter>());
    p.name = fmt::format("p{}", i);
    p.value = b.random({kEach}, DType::kF32);
    p.grad = b.random({kEach}, DType::kF32);
    p.grad_empty = false;
    params.push_back(&p);
  }
  const auto optimizer = make_adamw(b.cx(), params, {});
  std::int64_t step = 0;
  const double seconds = b.time([&] { optimizer->apply(b.cx(), {.step = ++step, .lr = 1e-4}); });
  b.report("AdamW 134 M f32", seconds, 28.0 * kParameters * kEach, "GB_per_s");
}

struct Size {
  const char* name;
  std::int64_t layers, width, heads, kv_heads, ffn, vocabulary, batch;
};

// Tokens a second of a whole step (forward, backward, AdamW) in bf16 with f32 masters.
void decoder_step(Bench& b, const Size& s) {
  DecoderConfig c;
  c.layers = s.layers;
  c.width = s.width;
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  c.ffn_width = s.ffn;
  c.vocab = s.vocabulary;
  c.compute = DType::kBf16;
  b.reset_peak();
  DecoderLm model(b.cx(), c);
  const auto params = parameters_of(model);
  const auto optimizer = make_adamw(b.cx(), params, {.weight_decay = 0.1, .no_decay = {}});
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < s.batch * kLength; ++i)
    ids.push_back(static_cast<std::int32_t>((i * 2654435761U >> 7) % s.vocabulary));
  const Tensor tokens = Tensor::from(b.cx(), {s.batch, kLength}, ids);
  Tensor one;
  std::int64_t step = 0;
  const auto train = [&] {
    Tape tape;
    const Var loss = cross_entropy(b.cx(), tape, model.logits(b.cx(), tape, tokens), tokens);
    for (Parameter* p : params)
      p->grad_empty = true;
    if (one.numel() == 0) one = Tensor::empty(b.cx(), {}, tape.value(loss).dtype());
    fill(b.cx(), one, 1.0);
    tape.backward(b.cx(), loss, one);
    optimizer->apply(b.cx(), {.step = ++step, .lr = 1e-4});
  };
  const double seconds = b.time(train, 2, 5);
  const double tokens_per_s = static_cast<double>(s.batch * kLength) / seconds;
  // Kaplan et al. (2020): six operations a weight and token, and the causal scores' products.
  const double flops = 6.0 * static_cast<double>(parameter_count(c)) +
                       6.0 * static_cast<double>(s.layers * s.width * kLength);
  fmt::print(
      "{{\"program\":\"gradwire\",\"case\":\"step {}\",\"ms\":{:.3f},\"tokens_per_s\":{:.0f},"
      "\"TFLOP_per_s\":{:.1f},\"peak_GiB\":{:.2f},\"parameters\":{}}}\n",
      s.name, 1e3 * seconds, tokens_per_s, tokens_per_s * flops * 1e-12,
      static_cast<double>(b.peak_bytes()) / (1 << 30), parameter_count(c));
  std::fflush(stdout);
}

int run(double budget_s) {
  std::unique_ptr<Bench> bench;
  try {
    bench = std::make_unique<Bench>(budget_s);
  } catch (const Error& e) {
    fmt::print(stderr, "cuda_bench: {}\n", e.what());
    return e.kind() == ErrorKind::kDevice ? 9 : 1;
  }
  Bench& b = *bench;
  b.run("copy", [&] { bandwidth(b); });
  b.run("linear 8192", [&] { product(b, 8192, 8192, 8192); });
  b.run("step 125M", [&] { decoder_step(b, {"125M", 12, 768, 12, 12, 2048, 32768, 16}); });
  b.run("attention D64", [&] { attention_case(b, 8, 12, 12, 64); });
  b.run("attention D128", [&] { attention_case(b, 4, 16, 4, 128); });
  b.run("cross-entropy", [&] { cross_entropy_case(b); });
  elementwise(b);
  b.run("embedding", [&] { lookup_case(b); });
  b.run("transpose", [&] { transpose_case(b); });
  b.run("AdamW", [&] { adamw_case(b); });
  b.run("step 1B", [&] { decoder_step(b, {"1B", 16, 2048, 32, 8, 8192, 32768, 4}); });
  return b.failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  constexpr double kBudget_s = 120.0;
  return gradwire::run(argc > 1 ? std::atof(argv[1]) : kBudget_s);
}
