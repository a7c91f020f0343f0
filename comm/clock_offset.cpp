#include "comm/clock_offset.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

namespace gradwire {
namespace {

constexpr int kRoundTrips = 8;

void send(Context& cx, Communicator& comm, int peer, double value) {
  const std::array group{P2p{P2p::Dir::kSend, peer, Tensor::from(cx, {1}, std::vector{value})}};
  comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
}

double receive(Context& cx, Communicator& comm, int peer) {
  const Tensor value = Tensor::empty(cx, {1}, DType::kF64);
  const std::array group{P2p{P2p::Dir::kRecv, peer, value}};
  comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
  return value.to_host<double>(cx)[0];
}

ClockOffset ask(Context& cx, Communicator& comm, const std::function<double()>& now_s) {
  ClockOffset best{0.0, std::numeric_limits<double>::infinity()};
  for (int i = 0; i < kRoundTrips; ++i) {
    const double asked = now_s();
    send(cx, comm, 0, asked);
    const double answer = receive(cx, comm, 0);
    const double answered = now_s();
    const double error = (answered - asked) / 2;
    if (error < best.error_s) best = {answer - (asked + answered) / 2, error};
  }
  return best;
}

void answer(Context& cx, Communicator& comm, int peer, const std::function<double()>& now_s) {
  for (int i = 0; i < kRoundTrips; ++i) {
    receive(cx, comm, peer);
    send(cx, comm, peer, now_s());
  }
}

}  // namespace

ClockOffset measure_clock_offset(Context& cx, Communicator& comm, std::span<const int> ranks,
                                 const std::function<double()>& now_s) {
  if (comm.rank() == 0) {
    for (const int peer : ranks)
      answer(cx, comm, peer, now_s);
    return {};
  }
  if (std::ranges::find(ranks, comm.rank()) == ranks.end()) return {};
  return ask(cx, comm, now_s);
}

}  // namespace gradwire
