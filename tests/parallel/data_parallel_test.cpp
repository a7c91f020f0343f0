#include "parallel/data_parallel.h"

#include <cmath>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

// y = x * w elementwise over the columns of x [B, D], w [D].
Var scale_columns(Context& cx, Tape& tape, Var x, Var w) {
  const Tensor xv = tape.value(x), wv = tape.value(w);
  Tensor y = Tensor::empty(cx, xv.shape(), DType::kF32);
  const auto multiply = [](const Tensor& out, const Tensor& a, const Tensor& columns) {
    const auto o = out.host<float>(), in = a.host<float>(), c = columns.host<float>();
    for (std::size_t i = 0; i < o.size(); ++i)
      o[i] = in[i] * c[i % c.size()];
  };
  multiply(y, xv, wv);
  return tape.record(y, {x, w}, [=](Context& c, Tape& t, const Tensor& dy) {
    Tensor dw = Tensor::zeros(c, wv.shape(), DType::kF32);
    const auto d = dw.host<float>(), g = dy.host<float>(), in = xv.host<float>();
    for (std::size_t i = 0; i < g.size(); ++i)
      d[i % d.size()] += g[i] * in[i];
    t.accumulate(c, w, dw);
    Tensor dx = Tensor::empty(c, dy.shape(), DType::kF32);
    multiply(dx, dy, wv);
    t.accumulate(c, x, dx);
  });
}

constexpr std::int64_t kWidth = 24;
constexpr int kLayers = 5;

// A chain of column scalings: the last declared layer's gradient is ready first.
struct Chain {
  explicit Chain(Context& cx, double value = 0.9) {
    for (int l = 0; l < kLayers; ++l) {
      layers.push_back(std::make_unique<Parameter>());
      layers.back()->name = "layer" + std::to_string(l);
      layers.back()->value = Tensor::empty(cx, {kWidth}, DType::kF32);
      fill(cx, layers.back()->value, value + 0.1 * l);
      params.push_back(layers.back().get());
    }
  }
  // Mean over the rows of sum over columns; samples [first, first + rows).
  void backward(Context& cx, Tape& tape, int first, int rows) {
    Tensor x = Tensor::empty(cx, {rows, kWidth}, DType::kF32);
    const auto data = x.host<float>();
    for (std::size_t i = 0; i < data.size(); ++i)
      data[i] = std::sin(static_cast<float>(first * kWidth) + static_cast<float>(i));
    Var h = tape.constant(x);
    for (Parameter* p : params)
      h = scale_columns(cx, tape, h, tape.param(*p));
    Tensor seed = Tensor::empty(cx, x.shape(), DType::kF32);
    fill(cx, seed, 1.0 / rows);
    tape.backward(cx, h, seed);
  }
  std::vector<std::unique_ptr<Parameter>> layers;
  std::vector<Parameter*> params;
};

class DataParallelTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, DataParallelTest, testing::Values(1, 2, 3, 4));

TEST_P(DataParallelTest, RanksWithPartsOfABatchEqualOneRankWithAllOfIt) {
  constexpr int kRows = 6;
  const int ranks = GetParam();
  Runtime runtime;
  Chain whole(runtime.context());
  Tape tape;
  whole.backward(runtime.context(), tape, 0, ranks * kRows);
  std::vector<std::vector<float>> expected;
  for (const Parameter* p : whole.params)
    expected.push_back(p->grad.to_host<float>(runtime.context()));

  for (const std::int64_t bucket_bytes : {64, 256, 1 << 20}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime own;
      Context& cx = own.context();
      Chain part(cx);
      DataParallel dp(cx, comm, make_dense_reducer(comm), part.params, {bucket_bytes});
      for (int step = 0; step < 2; ++step) {
        for (Parameter* p : part.params)
          clear_grad(*p);
        Tape t;
        dp.overlap(cx, t);
        part.backward(cx, t, comm.rank() * kRows, kRows);
        dp.finish_gradients(cx);
        for (std::size_t l = 0; l < part.params.size(); ++l) {
          const auto got = part.params[l]->grad.to_host<float>(cx);
          for (std::size_t i = 0; i < got.size(); ++i) {
            EXPECT_TRUE(
                test::agrees(got[i], expected[l][i], test::tolerance(DType::kF32, ranks * kRows)))
                << got[i] << " for " << expected[l][i];
          }
        }
      }
    });
  }
}

// Accumulated over two micro-batches, the second of which overlaps: bitwise what exchanging after
// the last backward gives.
TEST_P(DataParallelTest, OverlapChangesNoBit) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto gradients = [&](bool overlapped) {
      Chain chain(cx);
      DataParallel dp(cx, comm, make_dense_reducer(comm), chain.params, {128});
      for (int micro = 0; micro < 2; ++micro) {
        Tape t;
        if (overlapped && micro == 1) dp.overlap(cx, t);
        chain.backward(cx, t, comm.rank() * 10 + micro, 3);
      }
      dp.finish_gradients(cx);
      std::vector<std::vector<float>> all;
      for (const Parameter* p : chain.params)
        all.push_back(p->grad.to_host<float>(cx));
      return all;
    };
    EXPECT_EQ(gradients(true), gradients(false));
  });
}

// Writes down when buckets were submitted.
class SpyReducer final : public Reducer {
 public:
  explicit SpyReducer(std::vector<std::string>& log) : log_(log) {}
  void finish(Context&) override { log_.emplace_back("finish"); }
  std::int64_t sent_bytes(const FlatBucket&, int) const override { return 0; }
  void visit_state(StateVisitor&) override {}

  ExchangeKinds supports() const override { return {ExchangeKind::kGradient}; }
  const char* name() const override { return "spy"; }

 private:
  void do_submit(Context&, std::size_t, const Exchange& e) override {
    log_.push_back("bucket of " + std::to_string(contribution_of(e).value.numel()));
  }
  void do_reset_residuals(Context&, std::size_t) override {}

  std::vector<std::string>& log_;
};

class DataParallelOrder : public testing::Test {
 protected:
  // A parameter of `elements`, whose gradient's arrival is written down.
  Parameter& add(std::int64_t elements) {
    owned.push_back(std::make_unique<Parameter>());
    owned.back()->name = "p" + std::to_string(elements);
    owned.back()->value = Tensor::zeros(cx, {elements}, DType::kF32);
    params.push_back(owned.back().get());
    return *owned.back();
  }
  // h + 0 * p, so that backward reaches the uses in the reverse of the calls.
  Var use(Tape& tape, Var h, Parameter& p) {
    const Var v = tape.param(p);
    return tape.record(tape.value(h), {h, v},
                       [this, h, v, &p](Context& c, Tape& t, const Tensor& dy) {
                         log.push_back("gradient of " + p.name);
                         t.accumulate(c, v, Tensor::zeros(c, p.value.shape(), DType::kF32));
                         t.accumulate(c, h, dy);
                       });
  }
  void backward(Tape& tape, std::initializer_list<Parameter*> uses) {
    Var h = tape.input(Tensor::zeros(cx, {1}, DType::kF32));
    for (Parameter* p : uses)
      h = use(tape, h, *p);
    tape.backward(cx, h, Tensor::zeros(cx, {1}, DType::kF32));
  }
  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<std::unique_ptr<Communicator>> world = make_local_world(1);
  std::vector<std::unique_ptr<Parameter>> owned;
  std::vector<Parameter*> params;
  std::vector<std::string> log;
};

TEST_F(DataParallelOrder, BucketsLeaveWhileBackwardRuns) {
  Parameter& a = add(16);
  Parameter& b = add(32);
  DataParallel dp(cx, *world[0], std::make_unique<SpyReducer>(log), params, {64});
  Tape tape;
  dp.overlap(cx, tape);
  backward(tape, {&a, &b});
  dp.finish_gradients(cx);
  EXPECT_EQ(log, (std::vector<std::string>{"gradient of p32", "bucket of 32", "gradient of p16",
                                           "bucket of 16", "finish"}));
}

TEST_F(DataParallelOrder, OrderOfBucketsHoldsWhateverBecomesReadyFirst) {
  Parameter& a = add(16);
  Parameter& b = add(32);
  DataParallel dp(cx, *world[0], std::make_unique<SpyReducer>(log), params, {64});
  Tape tape;
  dp.overlap(cx, tape);
  backward(tape, {&b, &a});
  dp.finish_gradients(cx);
  EXPECT_EQ(log, (std::vector<std::string>{"gradient of p16", "gradient of p32", "bucket of 32",
                                           "bucket of 16", "finish"}));
}

TEST_F(DataParallelOrder, UnusedParametersTravelAsZerosAtTheEnd) {
  Parameter& a = add(16);
  Parameter& unused = add(32);
  fill(cx, unused.value, 1);
  DataParallel dp(cx, *world[0], std::make_unique<SpyReducer>(log), params, {64});
  fill(cx, unused.grad, 5);
  Tape tape;
  dp.overlap(cx, tape);
  backward(tape, {&a});
  EXPECT_EQ(log, (std::vector<std::string>{"gradient of p16"}));
  dp.finish_gradients(cx);
  EXPECT_EQ(log.back(), "finish");
  EXPECT_EQ(log.size(), 4U);
  EXPECT_FALSE(unused.grad_empty);
  EXPECT_EQ(unused.grad.to_host<float>(cx), std::vector<float>(32, 0.0F));
}

TEST_F(DataParallelOrder, AnUnfinishedStepIsAnError) {
  Parameter& a = add(16);
  DataParallel dp(cx, *world[0], std::make_unique<SpyReducer>(log), params, {64});
  Tape tape;
  dp.overlap(cx, tape);
  backward(tape, {&a});
  Tape next;
  EXPECT_THROW(dp.overlap(cx, next), Error);
}

TEST_P(DataParallelTest, ParametersBecomeThoseOfRankZero) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Chain chain(cx, 0.5 + comm.rank());
    DataParallel dp(cx, comm, make_dense_reducer(comm), chain.params);
    const std::int64_t version = chain.params[1]->version;
    dp.broadcast(cx);
    EXPECT_EQ(chain.params[1]->value.to_host<float>(cx),
              std::vector<float>(kWidth, static_cast<float>(0.5 + 0.1)));
    EXPECT_GT(chain.params[1]->version, version);
  });
}

// Through the second reducer: gradients with a weight, and whatever else an optimizer names.
TEST_P(DataParallelTest, AgreesThroughTheReducerThatCompresses) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Chain chain(cx);
    DataParallel dp(cx, comm, make_dense_reducer(comm), chain.params, {128});
    EXPECT_FALSE(dp.compresses());
    EXPECT_THROW(dp.compress_gradients(cx, 1.0), Error);
    dp.compress_with(make_dense_reducer(comm));
    const double r = comm.rank(), n = comm.size(), mean = (n - 1) / 2;
    dp.average(Averaged::kUncompressed);
    dp.finish_gradients(cx);
    for (const FlatBucket& b : dp.buckets().all())
      fill(cx, b.flat, r);
    dp.compress_gradients(cx, 0.5);
    EXPECT_FLOAT_EQ(chain.params[0]->grad.to_host<float>(cx)[0], static_cast<float>(mean / 2));

    const Tensor momentum = Tensor::zeros(cx, {2}, DType::kF32);
    fill(cx, momentum, 3.0);
    const Tensor value = Tensor::from(cx, {2}, std::vector<float>{static_cast<float>(r), 1});
    const std::vector<std::optional<Exchange>> exchanges{
        std::nullopt, Exchange{Momentum{value, 2.0F, momentum, 0.75F}}};
    dp.agree(cx, exchanges);
    EXPECT_FLOAT_EQ(momentum.host<float>()[0], static_cast<float>(0.75 * 3 + 0.25 * 2 * mean));
    EXPECT_FLOAT_EQ(momentum.host<float>()[1], static_cast<float>(0.75 * 3 + 0.25 * 2));
    EXPECT_GE(dp.take_wait_seconds(), 0.0);
    EXPECT_EQ(dp.take_wait_seconds(), 0.0);
  });
}

TEST_P(DataParallelTest, SteadyStateAllocatesNoTensors) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Chain chain(cx);
    DataParallel dp(cx, comm, make_dense_reducer(comm), chain.params, {128});
    const MemoryStats before = runtime.allocator().stats();
    for (int step = 0; step < 3; ++step)
      dp.finish_gradients(cx);
    const MemoryStats after = runtime.allocator().stats();
    EXPECT_EQ(after.system_allocations, before.system_allocations);
    EXPECT_EQ(after.peak_bytes, before.peak_bytes);
  });
}

}  // namespace
}  // namespace gradwire
