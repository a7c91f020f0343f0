// A coordinate that takes no part in an exchange, and has a value on one rank: all ranks hear of
// its parameter.
#include <gmock/gmock.h>

#include "comm/reducer/power_sgd.h"
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire {
namespace {

using test::Buckets;

std::unique_ptr<Reducer> make(Context& cx, Communicator& comm, const Buckets& buckets,
                              const std::string& method) {
  if (method == "powersgd") return make_power_sgd_reducer(cx, comm, buckets.layout, {.rank = 1});
  CompressionConfig config;
  config.method = feedback_named(method);
  return make_compressed_reducer(cx, comm, buckets.layout, config);
}

class Woken : public testing::TestWithParam<const char*> {};

TEST_P(Woken, IsToldToAllRanksIfOneRankHasAValue) {
  for (const int ranks : {1, 2, 3}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets buckets(cx, {{{20, 30}, {17}}});
      const FlatBucket& layout = buckets.layout[0];
      const auto reducer = make(cx, comm, buckets, GetParam());
      const Tensor live = Tensor::zeros(cx, {(layout.numel() + 7) / 8}, DType::kU8);
      fill(cx, live, 0xFF);
      live.data<std::uint8_t>()[2] = 0xF7;  // element 19 is dead, like the gap
      const Tensor momentum = Tensor::zeros(cx, {layout.numel()}, DType::kF32);
      for (std::int64_t s = 0; s < 8; ++s) {
        buckets.fill_values(comm.rank(), s);
        const bool here = comm.rank() == static_cast<int>(s) % comm.size();
        // Too small to have a square in steps 2 and 3.
        const float value = s < 2 ? 0.0F : s < 4 ? 1e-20F : -0.1F;
        layout.flat.data<float>()[19] = here ? value : 0.0F;
        int told = 0;
        reducer->submit(cx, 0,
                        {.what = Momentum{layout.flat, 1.0F, momentum, 0.9F},
                         .live = live,
                         .woken = [&](auto woken) {
                           ++told;
                           EXPECT_THAT(woken, testing::ElementsAre(1, 0));
                         }});
        reducer->finish(cx);
        ASSERT_EQ(told, s < 4 ? 0 : 1) << GetParam() << ", step " << s;
        ASSERT_EQ(momentum.data<float>()[19], 0.0F);
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Woken,
                         testing::Values("ef", "plain", "ef21", "econtrol", "powersgd"));

}  // namespace
}  // namespace gradwire
