#include "comm/cost/network_probe.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "core/parallel_for.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

// Of a round: long against its latency, and against the 0.2 s after which TCP repeats what was
// lost.
constexpr double kEnough_s = 0.3;
constexpr int kAttempts = 3;
constexpr std::int64_t kFirstBytes = std::int64_t{1} << 14;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 25;

template <class F>
double seconds_of(const F& f) {
  const Clock::time_point begin = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The slowest rank's, on all.
double agreed(Context& cx, Communicator& comm, double seconds) {
  Context scratch = cx.in(Segment::kComm);
  Tensor t = Tensor::from(scratch, {1}, std::vector<double>{seconds});
  comm.all_reduce(t, ReduceOp::kMax, cx.stream)->wait(cx.stream);
  return t.to_host<double>(cx)[0];
}

// Every rank sends `bytes` to each of the others.
double seconds_of_round(Context& cx, Communicator& comm, std::int64_t bytes) {
  Context scratch = cx.in(Segment::kComm);
  const Tensor in = Tensor::zeros(scratch, {bytes * comm.size()}, DType::kU8);
  const Tensor out = Tensor::zeros(scratch, {bytes * comm.size()}, DType::kU8);
  comm.barrier();
  return agreed(cx, comm,
                seconds_of([&] { comm.all_to_all(in, out, cx.stream)->wait(cx.stream); }));
}

// Every rank sends `count` small messages to each of the others, all at once.
double seconds_of_messages(Context& cx, Communicator& comm, int count) {
  constexpr std::int64_t kBytes = 64;
  Context scratch = cx.in(Segment::kComm);
  const Tensor buffer = Tensor::zeros(scratch, {2 * kBytes}, DType::kU8);
  const Tensor out = buffer.slice(0, kBytes), in = buffer.slice(kBytes, 2 * kBytes);
  std::vector<P2p> group;
  for (int i = 0; i < count; ++i) {
    for (int peer = 0; peer < comm.size(); ++peer) {
      if (peer == comm.rank()) continue;
      group.push_back({P2p::Dir::kSend, peer, out});
      group.push_back({P2p::Dir::kRecv, peer, in});
    }
  }
  comm.barrier();
  return agreed(cx, comm,
                seconds_of([&] { comm.batch_send_recv(group, cx.stream)->wait(cx.stream); }));
}

template <class F>
double median_of(int repeats, const F& f) {
  std::vector<double> all;
  for (int i = 0; i < repeats; ++i)
    all.push_back(f());
  std::ranges::nth_element(all, all.begin() + repeats / 2);
  return all[static_cast<std::size_t>(repeats / 2)];
}

double seconds_of_a_message(Context& cx, Communicator& comm) {
  constexpr int kRepeats = 9, kMany = 17;
  const double one = median_of(kRepeats, [&] { return seconds_of_messages(cx, comm, 1); });
  const double many = median_of(kRepeats, [&] { return seconds_of_messages(cx, comm, kMany); });
  return std::max(0.0, many - one) / static_cast<double>((kMany - 1) * (comm.size() - 1));
}

// The same twice, as the halves of an all-reduce.
double seconds_of_all_reduce(Context& cx, Communicator& comm, std::int64_t bytes) {
  Context scratch = cx.in(Segment::kComm);
  const auto size = static_cast<std::int64_t>(sizeof(float));
  const Tensor t = Tensor::zeros(scratch, {bytes / size * comm.size()}, DType::kF32);
  comm.barrier();
  return agreed(cx, comm, seconds_of([&] {
                  comm.all_reduce(t, ReduceOp::kMean, cx.stream)->wait(cx.stream);
                }));
}

// Bytes per second that a rank sends where `seconds(bytes)` takes `rounds` rounds.
template <class F>
double bandwidth_of(const Communicator& comm, double latency_s, int rounds, const F& seconds) {
  // The same on all ranks, so that all of them stop at the same size.
  for (std::int64_t bytes = kFirstBytes;; bytes *= 2) {
    double best = seconds(bytes);
    for (int i = 1; i < kAttempts; ++i)
      best = std::min(best, seconds(bytes));
    if (best <= kEnough_s && bytes * comm.size() < kMostBytes) continue;
    const double sent = rounds * static_cast<double>(bytes * (comm.size() - 1));
    return sent / std::max(best - rounds * latency_s, 0.1 * best);
  }
}

}  // namespace

NetworkSpeed probe_network(Context& cx, Communicator& comm) {
  constexpr double kNoLimit = std::numeric_limits<double>::infinity();
  NetworkSpeed speed;
  if (comm.size() == 1) {
    speed.bandwidth = speed.reducing = kNoLimit;
    return speed;
  }
  speed.latency_s = median_of(9, [&] { return seconds_of_round(cx, comm, 64); });
  speed.message_s = seconds_of_a_message(cx, comm);
  speed.bandwidth = bandwidth_of(comm, speed.latency_s, 1, [&](std::int64_t bytes) {
    return seconds_of_round(cx, comm, bytes);
  });
  speed.reducing = bandwidth_of(comm, speed.latency_s, 2, [&](std::int64_t bytes) {
    return seconds_of_all_reduce(cx, comm, bytes);
  });
  return speed;
}

CodecSpeed probe_codec(Context& cx, Communicator& comm, const Codec& codec) {
  constexpr std::int64_t kElements = std::int64_t{1} << 20;
  constexpr int kRepeats = 5;
  std::vector<float> x(kElements), residual(kElements), decoded(kElements);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(i % 1013) - 506.0F;
  std::vector<std::byte> payload(codec.max_bytes(kElements));
  CodecSpeed best{1.0, 1.0};
  for (int i = 0; i < kRepeats; ++i) {
    const CodecInput in{.x = x, .residual = residual, .known_finite = true};
    const double encode = seconds_of([&] { codec.encode(in, {.step = 1}, payload); });
    const double decode = seconds_of([&] { codec.decode(payload, decoded); });
    best.encode_s = std::min(best.encode_s, encode / kElements);
    best.decode_s = std::min(best.decode_s, decode / kElements);
  }
  return {agreed(cx, comm, best.encode_s), agreed(cx, comm, best.decode_s)};
}

}  // namespace gradwire
