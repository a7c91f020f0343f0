// Hundreds of ranks in one process, through the production reducers: what the ledger counts is what
// sent_bytes() says, for this world and from any other, and all ranks end with the same bits.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"

namespace gradwire {
namespace {

constexpr std::int64_t kElements = 5003;  // some owners have less than others, some nothing

struct RankResult {
  std::int64_t sent = 0;
  std::int64_t said = 0;  // by sent_bytes()
  std::vector<float> values;
};

using Make =
    std::function<std::unique_ptr<Reducer>(Context&, Communicator&, std::span<const FlatBucket>)>;

// The last of three exchanges: the first may be dense, the second may tell masks.
std::vector<RankResult> third_exchange(int ranks, const Make& make) {
  std::vector<RankResult> results(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Parameter p;
    p.name = "p";
    p.value = Tensor::zeros(cx, {kElements}, DType::kF32);
    const std::vector<FlatBucket> layout{{Tensor::zeros(cx, {kElements}, DType::kF32), {&p}, {0}}};
    const auto reducer = make(cx, comm, layout);
    RankResult& mine = results[static_cast<std::size_t>(comm.rank())];
    for (std::uint64_t step = 0; step < 3; ++step) {
      fill_normal(cx, layout[0].flat, Rng{step, static_cast<std::uint64_t>(comm.rank()) << 32},
                  1.0);
      const std::int64_t before = comm.ledger().total().sent_bytes;
      reducer->submit(cx, 0, {Gradient{layout[0].flat}});
      reducer->finish(cx);
      mine.sent = comm.ledger().total().sent_bytes - before;
    }
    mine.said = reducer->sent_bytes(layout[0], ranks);
    mine.values = layout[0].flat.to_host<float>(cx);
  });
  return results;
}

void expect_as_said(int ranks, const Make& make) {
  const std::vector<RankResult> results = third_exchange(ranks, make);
  std::int64_t busiest = 0;
  for (const RankResult& r : results) {
    busiest = std::max(busiest, r.sent);
    EXPECT_EQ(r.values, results[0].values);
  }
  EXPECT_EQ(busiest, results[0].said) << ranks << " ranks";

  // A world of one says the same of it.
  const auto alone = make_local_world(1);
  Runtime runtime;
  Parameter p;
  p.name = "p";
  p.value = Tensor::zeros(runtime.context(), {kElements}, DType::kF32);
  const std::vector<FlatBucket> layout{
      {Tensor::zeros(runtime.context(), {kElements}, DType::kF32), {&p}, {0}}};
  EXPECT_EQ(make(runtime.context(), *alone[0], layout)->sent_bytes(layout[0], ranks), busiest);
}

Make compressed(Feedback method, const char* codec) {
  return [=](Context& cx, Communicator& comm, std::span<const FlatBucket> layout) {
    CompressionConfig config;
    config.method = method;
    config.codec.name = codec;
    return make_compressed_reducer(cx, comm, layout, config);
  };
}

TEST(ManyRanks, OneBitOn256RanksSendsWhatTheFormulaSays) {
  expect_as_said(256, compressed(Feedback::kEf, "sign"));
}

TEST(ManyRanks, EcontrolTopKOn256RanksSendsWhatTheFormulaSays) {
  expect_as_said(256, compressed(Feedback::kEcontrol, "topk"));
}

TEST(ManyRanks, EveryKindOnAFewRanksSendsWhatTheFormulaSays) {
  for (const int ranks : {1, 2, 3, 7}) {
    for (const char* codec : {"sign", "int8", "bf16", "topk", "randk", "natural"})
      expect_as_said(ranks, compressed(Feedback::kEf, codec));
    expect_as_said(ranks, [](Context&, Communicator& comm, std::span<const FlatBucket>) {
      return make_dense_reducer(comm);
    });
  }
}

}  // namespace
}  // namespace gradwire
