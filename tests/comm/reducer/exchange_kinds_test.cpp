// Which kinds of exchange a reducer takes: what it says it supports, and no other; and what a
// layout says is uncompressed costs a reducer nothing.
#include "comm/reducer/power_sgd.h"
#include "core/error.h"
#include "core/reducer_methods.h"
#include "tests/comm/reducer/reducer_world.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::Buckets;

std::unique_ptr<Reducer> make(Context& cx, Communicator& comm, std::span<const FlatBucket> layout,
                              std::string_view method) {
  if (method == "dense") return make_dense_reducer(comm);
  if (method == "scatter") return make_scatter_reducer(comm);
  if (method == "powersgd") return make_power_sgd_reducer(cx, comm, layout, {.rank = 1});
  CompressionConfig config;
  config.method = feedback_named(method);
  return make_compressed_reducer(cx, comm, layout, config);
}

std::vector<Exchange> one_of_each(const Tensor& value, const Tensor& momentum) {
  const auto fill = [](Context& cx, const Tensor& to) { gradwire::fill(cx, to, 0.0); };
  return {{Gradient{value}},
          {Momentum{value, 1.0F, momentum, 0.9F}},
          {RecalledMomentum{value, 1.0F, 0.9F, fill}},
          {Drift{value}}};
}

class ExchangeKindsOf : public testing::TestWithParam<std::string_view> {};

TEST_P(ExchangeKindsOf, AreThoseThatItSupports) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto alone = make_local_world(1);
  for (std::size_t kind = 0; kind < 4; ++kind) {
    Buckets buckets(cx, {{{20, 30}}});
    buckets.fill_values(0, 0);
    const Tensor& value = buckets.layout[0].flat;
    const Tensor momentum = Tensor::zeros(cx, {value.numel()}, DType::kF32);
    Exchange e = one_of_each(value, momentum)[kind];
    ASSERT_EQ(static_cast<std::size_t>(kind_of(e)), kind);
    const auto reducer = make(cx, *alone[0], buckets.layout, GetParam());
    if (reducer->supports().contains(kind_of(e))) {
      if (kind_of(e) == ExchangeKind::kRecalledMomentum) {
        e.live = Tensor::zeros(cx, {(value.numel() + 7) / 8}, DType::kU8);
        fill(cx, e.live, 0xFF);
      }
      reducer->submit(cx, 0, e);
      reducer->finish(cx);
    } else {
      test::expect_error(ErrorKind::kUsage,
                         std::string("cannot exchange ") + std::string(name_of(kind_of(e))),
                         [&] { reducer->submit(cx, 0, e); });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, ExchangeKindsOf,
                         testing::Values("dense", "scatter", "plain", "ef", "ef21", "ef21_sgdm",
                                         "econtrol", "powersgd"),
                         [](const auto& of) { return std::string(of.param); });

TEST(ExchangeKinds, OfMethodsAreInOneTable) {
  for (const ReducerMethod& m : kReducerMethods) {
    Runtime runtime;
    const auto alone = make_local_world(1);
    Buckets buckets(runtime.context(), 64);
    const auto reducer = make(runtime.context(), *alone[0], buckets.layout, m.name);
    EXPECT_EQ(reducer->name(), m.name);
  }
  EXPECT_FALSE(supported_by("none").contains(ExchangeKind::kGradient));
}

class UncompressedBucket : public testing::TestWithParam<std::string_view> {};

// Against a reducer for the first bucket alone.
TEST_P(UncompressedBucket, HasNoStateAndNoBuffers) {
  run_ranks(2, [](Communicator& comm) {
    const auto use = [&](bool marked, std::size_t& bytes) {
      Runtime runtime;
      Buckets buckets(runtime.context(), {{{20, 30}}, {{4000, 50}}});
      buckets.layout[1].uncompressed = marked;
      if (!marked) buckets.layout.pop_back();
      const std::size_t before = runtime.allocator().stats().live_bytes;
      const auto reducer = make(runtime.context(), comm, buckets.layout, GetParam());
      bytes = runtime.allocator().stats().live_bytes - before;
      test::SavedState state;
      test::StateSaver saver(state);
      reducer->visit_state(saver);
      if (marked) {
        test::expect_error(ErrorKind::kUsage, "uncompressed", [&] {
          reducer->submit(runtime.context(), 1, {Gradient{buckets.layout[1].flat}});
        });
      }
      return state;
    };
    std::size_t marked_bytes = 0, alone_bytes = 0;
    const test::SavedState marked = use(true, marked_bytes), alone = use(false, alone_bytes);
    EXPECT_EQ(marked_bytes, alone_bytes);
    EXPECT_EQ(marked.means, alone.means);
    EXPECT_EQ(marked.replicated, alone.replicated);
    EXPECT_EQ(marked.bytes, alone.bytes);
    EXPECT_EQ(marked.slices.size(), alone.slices.size());
  });
}

INSTANTIATE_TEST_SUITE_P(Methods, UncompressedBucket,
                         testing::Values("plain", "ef", "ef21", "ef21_sgdm", "econtrol",
                                         "powersgd"),
                         [](const auto& of) { return std::string(of.param); });

// Local steps of plain gradient descent, as long as one likes: parameters now minus parameters at
// the last agreement, agreed on, are the mean of the ranks' parameters.
TEST(Drift, OfLocalStepsLeavesReplicasEqual) {
  run_ranks(3, [](Communicator& comm) {
    for (const std::string_view method : {"dense", "ef", "econtrol", "powersgd"}) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets drift(cx, {{{20, 30}, {17}}}), steps(cx, {{{20, 30}, {17}}});
      const auto reducer = make(cx, comm, drift.layout, method);
      const Tensor& flat = drift.layout[0].flat;
      const Tensor anchor = Tensor::zeros(cx, flat.shape(), DType::kF32);
      for (std::int64_t round = 0; round < 5; ++round) {
        const Tensor value = Tensor::from(cx, flat.shape(), anchor.to_host<float>(cx));
        for (std::int64_t inner = 0; inner < 1 + round; ++inner) {
          steps.fill_values(comm.rank(), 10 * round + inner);
          add_scaled(cx, value, steps.layout[0].flat, -0.1);
        }
        const Tensor mean = Tensor::from(cx, flat.shape(), value.to_host<float>(cx));
        comm.all_reduce(mean, ReduceOp::kMean, cx.stream)->wait(cx.stream);
        add_scaled(cx, value, anchor, -1.0);
        copy(cx, flat, value);
        reducer->submit(cx, 0, {Drift{flat}});
        reducer->finish(cx);
        add_scaled(cx, anchor, flat, 1.0);
        for (std::int64_t i = 0; i < flat.numel() && method == "dense"; ++i)
          ASSERT_NEAR(anchor.data<float>()[i], mean.data<float>()[i], 1e-5F);
        const Tensor first = Tensor::from(cx, flat.shape(), anchor.to_host<float>(cx));
        comm.broadcast(first, 0, cx.stream)->wait(cx.stream);
        ASSERT_EQ(anchor.to_host<float>(cx), first.to_host<float>(cx)) << method << " " << round;
      }
    }
  });
}

}  // namespace
}  // namespace gradwire
