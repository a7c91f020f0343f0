// Scales are those of one parameter: what a small one gets does not depend on how large its
// neighbours in the bucket are.
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire {
namespace {

using test::Buckets;

// A bucket of three parameters, the middle one a thousandth of the others, after a few steps: what
// it gets, and what it gets in a bucket of its own.
class ScaleBlocks : public testing::TestWithParam<const char*> {};

TEST_P(ScaleBlocks, DoNotCrossParameters) {
  const auto small_after = [&](Communicator& comm, double others) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets buckets(cx, {{{40, 30}, {500}, {700}}});
    CompressionConfig config;
    config.codec.name = GetParam();
    const auto reducer = make_compressed_reducer(cx, comm, buckets.layout, config);
    const FlatBucket& layout = buckets.layout[0];
    for (std::int64_t s = 0; s < 4; ++s) {
      buckets.fill_values(comm.rank(), s);
      for (const std::size_t p : {0U, 2U})
        scale(cx, layout.view_in(layout.flat, p), others);
      reducer->submit(cx, 0, {Gradient{layout.flat}});
      reducer->finish(cx);
    }
    return layout.view_in(layout.flat, 1).to_host<float>(cx);
  };
  for (const int ranks : {1, 2}) {
    run_ranks(ranks, [&](Communicator& comm) {
      EXPECT_EQ(small_after(comm, 1000.0), small_after(comm, 1.0)) << comm.size() << " ranks";
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, ScaleBlocks, testing::Values("sign", "int8", "int4", "qsgd"));

// Thousands of tiny parameters: what scales cost stays bounded, four bytes for each parameter and
// for each border between owners.
TEST(ScaleBlocks, CostFourBytesAParameter) {
  constexpr std::int64_t kParameters = 3000, kElements = 64;
  const std::vector<Shape> shapes(kParameters, Shape{kElements});
  Runtime runtime;
  Buckets buckets(runtime.context(), {shapes});
  const auto alone = make_local_world(1);
  const auto reducer = make_compressed_reducer(runtime.context(), *alone[0], buckets.layout, {});
  for (const int ranks : {2, 7, 64}) {
    const double share = 2.0 * (ranks - 1) / ranks;
    const double bits = kParameters * kElements / 8.0;
    EXPECT_LE(static_cast<double>(reducer->sent_bytes(buckets.layout[0], ranks)),
              share * (bits + 4.0 * (kParameters + 2.0 * ranks)) + 32.0 * ranks);
  }
}

}  // namespace
}  // namespace gradwire
