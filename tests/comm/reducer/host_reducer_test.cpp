// A reducer that works on host copies of a device's buckets: here the device's memory is the host's
// too, in another runtime. The same on a GPU: tests/comm/cuda.
#include "comm/reducer/host_reducer.h"

#include "core/error.h"
#include "tests/comm/reducer/host_reducer_cases.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::Buckets;
using test::expect_error;

// A context whose host is another runtime.
struct BesideHost {
  Runtime device, host;
  Context cx = device.context();
  BesideHost() { cx.host = &host.context(); }
};

class HostReducerTest : public testing::TestWithParam<test::HostReducerCase> {};
INSTANTIATE_TEST_SUITE_P(All, HostReducerTest, testing::ValuesIn(test::host_reducer_cases()),
                         [](const auto& p) { return test::name_of(p.param); });

TEST_P(HostReducerTest, AgreesOnTheBitsOfTheReducerItself) {
  for (const int ranks : {1, 3}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime plain;
      BesideHost beside;
      EXPECT_EQ(test::agreed_in_steps(beside.cx, comm, GetParam()),
                test::agreed_in_steps(plain.context(), comm, GetParam()));
    });
  }
}

TEST(HostReducer, TakesMemoryOfTheHostAlone) {
  run_ranks(1, [](Communicator& comm) {
    BesideHost beside;
    Buckets buckets(beside.cx, 100);
    const auto used = [&] {
      return beside.device.allocator().stats().of(Segment::kComm).live_bytes;
    };
    const std::unique_ptr<Reducer> reducer =
        test::make_on_host(beside.cx, comm, buckets.layout, {"ef", ExchangeKind::kGradient, false});
    EXPECT_EQ(used(), 0U);
    EXPECT_GT(beside.host.allocator().stats().of(Segment::kComm).live_bytes, 0U);
  });
}

TEST(HostReducer, IsTheReducerItselfOnTheHost) {
  Runtime runtime;
  Buckets buckets(runtime.context(), 100);
  int made = 0;
  run_ranks(1, [&](Communicator& comm) {
    make_host_reducer(runtime.context(), buckets.layout,
                      [&](Context& host, std::span<const FlatBucket> layout) {
                        EXPECT_EQ(layout.data(), buckets.layout.data());
                        EXPECT_EQ(&host, &runtime.context());
                        ++made;
                        return make_dense_reducer(comm);
                      });
  });
  EXPECT_EQ(made, 1);
}

TEST(HostReducer, RefusesWhatIsOfTheCpuOnly) {
  run_ranks(1, [](Communicator& comm) {
    BesideHost beside;
    Buckets buckets(beside.cx, 100);
    const std::unique_ptr<Reducer> reducer =
        test::make_on_host(beside.cx, comm, buckets.layout, {"ef", ExchangeKind::kGradient, false});
    Exchange used{.what = Gradient{buckets.layout[0].flat}};
    used.use = [](std::int64_t, std::int64_t, const float*) {};
    expect_error(ErrorKind::kDevice, "cannot be used on the way",
                 [&] { reducer->submit(beside.cx, 0, used); });
    expect_error(ErrorKind::kUsage, "cannot exchange a recalled momentum", [&] {
      reducer->submit(beside.cx, 0, {.what = RecalledMomentum{buckets.layout[0].flat}});
    });
  });
}

}  // namespace
}  // namespace gradwire
