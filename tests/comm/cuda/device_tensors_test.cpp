// Calls of a communicator, reducers and the norm's sketch on tensors of one GPU that all ranks
// share, against the same on host tensors, bit for bit.
#include <functional>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "parallel/norm_sketch.h"
#include "tests/comm/reducer/host_reducer_cases.h"
#include "tests/core/cuda/fixture.h"

namespace gradwire {
namespace {

constexpr std::int64_t kPart = 1000;

class DeviceTensors : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, DeviceTensors, testing::Values(1, 2, 3));

// [n] numbers of this rank.
Tensor numbers(Context& cx, const Communicator& comm, std::int64_t n) {
  Tensor t = Tensor::empty(cx, {n}, DType::kF32);
  fill_normal(cx, t, Rng{static_cast<std::uint64_t>(comm.rank()) + 1, 0}, 1.0);
  return t;
}

using Call = std::function<std::vector<float>(Context&, Communicator&)>;
void expect_same_on_gpu(int ranks, const Call& call) {
  run_ranks(ranks, [&](Communicator& comm) {
    test::BothDevices on;
    const std::vector<float> expected = call(on.cpu, comm);
    EXPECT_EQ(call(on.cuda, comm), expected);
  });
}

TEST_P(DeviceTensors, AllReduce) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor t = numbers(cx, comm, kPart);
    comm.all_reduce(t, ReduceOp::kMean, cx.stream)->wait(cx.stream);
    return t.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, ReduceScatterIntoTheOwnPart) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor t = numbers(cx, comm, kPart * comm.size());
    const Tensor own = own_slice(t, comm);
    comm.reduce_scatter(t, own, ReduceOp::kSum, cx.stream)->wait(cx.stream);
    return t.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, AllGatherFromTheOwnPart) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor t = numbers(cx, comm, kPart * comm.size());
    comm.all_gather(own_slice(t, comm), t, cx.stream)->wait(cx.stream);
    return t.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, AllToAll) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor in = numbers(cx, comm, kPart * comm.size());
    const Tensor out = Tensor::empty(cx, in.shape(), DType::kF32);
    comm.all_to_all(in, out, cx.stream)->wait(cx.stream);
    return out.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, Broadcast) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor t = numbers(cx, comm, kPart);
    comm.broadcast(t, comm.size() - 1, cx.stream)->wait(cx.stream);
    return t.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, MessagesRoundTheRing) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const int next = (comm.rank() + 1) % comm.size();
    const int before = (comm.rank() + comm.size() - 1) % comm.size();
    const Tensor out = numbers(cx, comm, kPart);
    const Tensor in = Tensor::empty(cx, out.shape(), DType::kF32);
    const std::vector<P2p> group{{P2p::Dir::kSend, next, out}, {P2p::Dir::kRecv, before, in}};
    comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
    return in.to_host<float>(cx);
  });
}

// Whose host memory is used again while the GPU still computes with what came before.
TEST_P(DeviceTensors, ManyCallsAfterEachOther) {
  expect_same_on_gpu(GetParam(), [](Context& cx, Communicator& comm) {
    const Tensor t = numbers(cx, comm, kPart);
    for (int i = 0; i < 50; ++i) {
      scale(cx, t, 1.5);
      comm.all_reduce(t, ReduceOp::kMean, cx.stream)->wait(cx.stream);
    }
    return t.to_host<float>(cx);
  });
}

TEST_P(DeviceTensors, NormSketch) {
  run_ranks(GetParam(), [](Communicator& comm) {
    test::BothDevices on;
    const auto norm = [&](Context& cx) {
      NormSketch sketch(cx);
      const Tensor t = numbers(cx, comm, 70001);
      return sketch.mean_norm(cx, comm, {&t, 1}, 3);
    };
    EXPECT_EQ(norm(on.cuda), norm(on.cpu));
  });
}

class DeviceReducer : public testing::TestWithParam<test::HostReducerCase> {};
INSTANTIATE_TEST_SUITE_P(All, DeviceReducer, testing::ValuesIn(test::host_reducer_cases()),
                         [](const auto& p) { return test::name_of(p.param); });

TEST_P(DeviceReducer, AgreesOnTheBitsOfTheCpu) {
  expect_same_on_gpu(2, [](Context& cx, Communicator& comm) {
    return test::agreed_in_steps(cx, comm, GetParam());
  });
}

}  // namespace
}  // namespace gradwire
