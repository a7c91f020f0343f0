#include "tests/support/comm_contract.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/call_observer.h"
#include "core/error.h"

namespace gradwire::test {
namespace {

// Zero, one, fewer than ranks, round, prime, and 3 MB of f32 (several segments of a transport).
const std::vector<std::int64_t> kSizes = {0, 1, 7, 1024, 10007, 786433};

template <class T>
T value(int rank, std::int64_t i) {
  const auto r = static_cast<std::int64_t>(rank);
  return static_cast<T>(static_cast<Compute<T>>((r + 1) * (i % 11 + 1) + i % 7));
}
// Not a sum of powers of two: shows the order of additions.
template <>
float value<float>(int rank, std::int64_t i) {
  return 1.0F / static_cast<float>(3 * rank + 1) + static_cast<float>(i % 1013) * 0.37F;
}
template <>
Bf16 value<Bf16>(int rank, std::int64_t i) {
  return Bf16(value<float>(rank, i));
}

template <class T>
Tensor filled(Context& cx, std::int64_t n, const std::function<T(std::int64_t)>& f) {
  Tensor t = Tensor::empty(cx, {n}, kDTypeOf<T>);
  if (n == 0) return t;
  const std::span<T> data = t.host<T>();
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = f(static_cast<std::int64_t>(i));
  return t;
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Every element of t is f(i), bit for bit; reports the first that is not.
template <class T>
void expect_elements(const Tensor& t, const std::function<T(std::int64_t)>& f, const char* what) {
  if (t.numel() == 0) return;
  const std::span<const T> data = t.host<T>();
  for (std::size_t i = 0; i < data.size(); ++i) {
    const T want = f(static_cast<std::int64_t>(i));
    if (same_bits(data[i], want)) continue;
    ADD_FAILURE() << what << ": element " << i << " of " << data.size() << " is "
                  << static_cast<double>(static_cast<Compute<T>>(data[i])) << ", expected "
                  << static_cast<double>(static_cast<Compute<T>>(want));
    return;
  }
}

// In the order of the ranks, in the compute type.
template <class T>
T expected_sum(int ranks, std::int64_t i, bool mean = false) {
  using C = Compute<T>;
  C sum = static_cast<C>(value<T>(0, i));
  for (int r = 1; r < ranks; ++r)
    sum = static_cast<C>(sum + static_cast<C>(value<T>(r, i)));
  return static_cast<T>(mean ? static_cast<C>(sum * static_cast<C>(1.0 / ranks)) : sum);
}

template <class T>
T expected_extreme(int ranks, std::int64_t i, bool max) {
  using C = Compute<T>;
  C best = static_cast<C>(value<T>(0, i));
  for (int r = 1; r < ranks; ++r) {
    const C x = static_cast<C>(value<T>(r, i));
    best = max ? std::max(best, x) : std::min(best, x);
  }
  return static_cast<T>(best);
}

template <class T>
void all_reduce_of(Communicator& comm, Context& cx, std::int64_t n) {
  const int ranks = comm.size();
  const auto run = [&](ReduceOp op) {
    Tensor t = filled<T>(cx, n, [&](std::int64_t i) { return value<T>(comm.rank(), i); });
    comm.all_reduce(t, op, cx.stream)->wait(cx.stream);
    return t;
  };
  expect_elements<T>(
      run(ReduceOp::kSum), [&](std::int64_t i) { return expected_sum<T>(ranks, i); }, "sum");
  expect_elements<T>(
      run(ReduceOp::kMax), [&](std::int64_t i) { return expected_extreme<T>(ranks, i, true); },
      "max");
  expect_elements<T>(
      run(ReduceOp::kMin), [&](std::int64_t i) { return expected_extreme<T>(ranks, i, false); },
      "min");
  if constexpr (!std::is_integral_v<T>) {
    expect_elements<T>(
        run(ReduceOp::kMean), [&](std::int64_t i) { return expected_sum<T>(ranks, i, true); },
        "mean");
  } else {
    expect_elements<T>(
        run(ReduceOp::kOr),
        [&](std::int64_t i) {
          T bits = 0;
          for (int r = 0; r < ranks; ++r)
            bits = static_cast<T>(bits | value<T>(r, i));
          return bits;
        },
        "bitwise or");
  }
}

void all_reduce_sizes(Communicator& comm) {
  Runtime runtime;
  for (const std::int64_t n : kSizes)
    all_reduce_of<float>(comm, runtime.context(), n);
}

void all_reduce_types(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  for (const std::int64_t n : {7, 10007}) {
    all_reduce_of<double>(comm, cx, n);
    all_reduce_of<Bf16>(comm, cx, n);
    all_reduce_of<std::int32_t>(comm, cx, n);
    all_reduce_of<std::int64_t>(comm, cx, n);
    all_reduce_of<std::uint8_t>(comm, cx, n);
  }
}

void extremes_keep_nan(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  for (int bad = 0; bad < comm.size(); ++bad) {
    for (const ReduceOp op : {ReduceOp::kMax, ReduceOp::kMin, ReduceOp::kSum}) {
      const float mine = comm.rank() == bad ? std::numeric_limits<float>::quiet_NaN() : 1.0F;
      Tensor t = Tensor::from(cx, {1}, std::vector<float>{mine});
      comm.all_reduce(t, op, cx.stream)->wait(cx.stream);
      EXPECT_TRUE(std::isnan(t.host<float>()[0])) << "NaN of rank " << bad;
    }
  }
}

void reduce_scatter_sizes(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  for (const std::int64_t part : {0, 1, 7, 1024, 10007, 120011}) {
    Tensor in = filled<float>(cx, part * comm.size(),
                              [&](std::int64_t i) { return value<float>(comm.rank(), i); });
    Tensor out = Tensor::empty(cx, {part}, DType::kF32);
    comm.reduce_scatter(in, out, ReduceOp::kSum, cx.stream)->wait(cx.stream);
    expect_elements<float>(
        out,
        [&](std::int64_t i) { return expected_sum<float>(comm.size(), comm.rank() * part + i); },
        "reduce-scatter");
    // In place: the output is the rank's own part of the input.
    const Tensor own = in.slice(comm.rank() * part, (comm.rank() + 1) * part);
    comm.reduce_scatter(in, own, ReduceOp::kSum, cx.stream)->wait(cx.stream);
    EXPECT_EQ(own.to_host<float>(cx), out.to_host<float>(cx)) << "reduce-scatter in place";
  }
}

void all_gather_sizes(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  for (const std::int64_t part : kSizes) {
    const auto mine = [&](std::int64_t i) { return value<std::int32_t>(comm.rank(), i); };
    Tensor in = filled<std::int32_t>(cx, part, mine);
    Tensor out = Tensor::empty(cx, {part * comm.size()}, DType::kI32);
    comm.all_gather(in, out, cx.stream)->wait(cx.stream);
    const auto expected = [&](std::int64_t i) {
      return value<std::int32_t>(static_cast<int>(i / part), i % part);
    };
    expect_elements<std::int32_t>(out, expected, "all-gather");
    if (part == 0) continue;
    // In place: the input is the rank's own part of the output.
    Tensor whole = Tensor::zeros(cx, {part * comm.size()}, DType::kI32);
    Tensor own = whole.slice(comm.rank() * part, (comm.rank() + 1) * part);
    copy(cx, own, in);
    comm.all_gather(own, whole, cx.stream)->wait(cx.stream);
    expect_elements<std::int32_t>(whole, expected, "all-gather in place");
  }
}

void all_to_all_sizes(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto sent = [](int from, int to, std::int64_t i) {
    return static_cast<std::int64_t>(from) * 1000003 + to * 1009 + i;
  };
  for (const std::int64_t part : {0, 1, 7, 10007}) {
    Tensor in = filled<std::int64_t>(cx, part * comm.size(), [&](std::int64_t i) {
      return sent(comm.rank(), static_cast<int>(i / part), i % part);
    });
    Tensor out = Tensor::empty(cx, {part * comm.size()}, DType::kI64);
    comm.all_to_all(in, out, cx.stream)->wait(cx.stream);
    expect_elements<std::int64_t>(
        out,
        [&](std::int64_t i) { return sent(static_cast<int>(i / part), comm.rank(), i % part); },
        "all-to-all");
  }
}

void broadcast_every_root(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  for (int root = 0; root < comm.size(); ++root) {
    for (const std::int64_t n : kSizes) {
      Tensor t = filled<float>(cx, n, [&](std::int64_t i) { return value<float>(comm.rank(), i); });
      comm.broadcast(t, root, cx.stream)->wait(cx.stream);
      expect_elements<float>(
          t, [&](std::int64_t i) { return value<float>(root, i); }, "broadcast");
    }
  }
}

void exchange_ring(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const int n = comm.size();
  const int next = (comm.rank() + 1) % n, previous = (comm.rank() + n - 1) % n;
  for (const std::int64_t size : kSizes) {
    Tensor out =
        filled<float>(cx, size, [&](std::int64_t i) { return value<float>(comm.rank(), i); });
    Tensor in = Tensor::empty(cx, {size}, DType::kF32);
    const P2p group[] = {{P2p::Dir::kSend, next, out}, {P2p::Dir::kRecv, previous, in}};
    comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
    expect_elements<float>(
        in, [&](std::int64_t i) { return value<float>(previous, i); }, "ring");
  }
}

// Both directions at once with every other rank, two messages each, which must keep their order.
void exchange_both_ways(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto message = [](int from, int to, int k) { return from * 10000 + to * 10 + k; };
  std::vector<P2p> group;
  std::vector<Tensor> received;
  for (int peer = 0; peer < comm.size(); ++peer) {
    for (int k = 0; k < 2; ++k) {
      received.push_back(Tensor::zeros(cx, {1}, DType::kI32));
      group.push_back({P2p::Dir::kRecv, peer, received.back()});
    }
  }
  for (int k = 0; k < 2; ++k) {
    for (int peer = 0; peer < comm.size(); ++peer) {
      const std::vector<std::int32_t> word{message(comm.rank(), peer, k)};
      group.push_back({P2p::Dir::kSend, peer, Tensor::from(cx, {1}, word)});
    }
  }
  comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
  for (int peer = 0; peer < comm.size(); ++peer) {
    for (int k = 0; k < 2; ++k) {
      EXPECT_EQ(received[static_cast<std::size_t>(2 * peer + k)].host<std::int32_t>()[0],
                message(peer, comm.rank(), k));
    }
  }
}

// Rank 0 sends in one order of calls, the last rank receives after a collective is under way: a
// message must not wait for collectives, nor they for it.
void exchange_beside_collectives(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const int last = comm.size() - 1;
  Tensor message = Tensor::from(cx, {3}, std::vector<float>{1, 2, 3});
  Tensor sum = Tensor::from(cx, {1}, std::vector<float>{1});
  std::vector<WorkPtr> works;
  if (last > 0 && comm.rank() == last) {
    fill(cx, message, 0);
    const P2p receive[] = {{P2p::Dir::kRecv, 0, message}};
    works.push_back(comm.batch_send_recv(receive, cx.stream));
  }
  works.push_back(comm.all_reduce(sum, ReduceOp::kSum, cx.stream));
  if (last > 0 && comm.rank() == 0) {
    works.back()->wait(cx.stream);
    const P2p send[] = {{P2p::Dir::kSend, last, message}};
    works.push_back(comm.batch_send_recv(send, cx.stream));
  }
  for (const WorkPtr& w : works)
    w->wait(cx.stream);
  EXPECT_EQ(message.to_host<float>(cx), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(sum.host<float>()[0], static_cast<float>(comm.size()));
}

class Hearing final : public CallObserver {
 public:
  void begins(const CallNote& call) noexcept override { note("begins", call); }
  void waits(const CallNote& call) noexcept override { note("waits", call); }
  void goes_on() noexcept override { heard.push_back("goes on"); }
  std::vector<std::string> heard;

 private:
  void note(const char* what, const CallNote& call) {
    heard.push_back(std::string(what) + " " + name_of(call.kind) + " " +
                    std::to_string(call.sequence) + " " + std::to_string(call.peer));
  }
};

// A call of one rank is answered at once: nothing that could hang.
void observer_hears_of_calls(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const auto fresh = comm.split(0, comm.rank());  // counts from 0
  Tensor t = filled<float>(cx, 10, [](std::int64_t) { return 1.0F; });
  Tensor in = Tensor::empty(cx, {10}, DType::kF32);
  const int n = comm.size();
  const int next = (comm.rank() + 1) % n, previous = (comm.rank() + n - 1) % n;
  const P2p group[] = {{P2p::Dir::kSend, next, t}, {P2p::Dir::kRecv, previous, in}};
  Hearing hearing;
  fresh->barrier();
  fresh->observe(&hearing);
  const WorkPtr first = fresh->all_gather(Tensor::zeros(cx, {1}, DType::kF32),
                                          Tensor::zeros(cx, {n}, DType::kF32), cx.stream);
  const WorkPtr second = fresh->batch_send_recv(group, cx.stream);
  second->wait(cx.stream);
  first->wait(cx.stream);
  fresh->observe(nullptr);
  fresh->barrier();
  std::vector<std::string> expected = {"begins all-gather 1 -1"};
  const std::string exchange = " exchange 0 " + std::to_string(next);
  for (const std::string& what : {"begins" + exchange, "waits" + exchange, std::string("goes on")})
    expected.push_back(what);
  expected.insert(expected.end(), {"waits all-gather 1 -1", "goes on"});
  if (n == 1) expected = {expected.begin() + 1, expected.begin() + 4};
  EXPECT_EQ(hearing.heard, expected);
}

void split_by_odd_colors(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  // Ranks 0, 3, 6 are in no part; 1, 4 and 2, 5 form parts in reversed order.
  const int color = comm.rank() % 3 == 0 ? -1 : comm.rank() % 3;
  const auto part = comm.split(color, -comm.rank());
  ASSERT_EQ(part == nullptr, color < 0);
  if (part) {
    std::vector<int> members;
    for (int r = comm.size() - 1; r >= 0; --r) {
      if (r % 3 == color) members.push_back(r);
    }
    ASSERT_EQ(part->size(), static_cast<int>(members.size()));
    EXPECT_EQ(members[static_cast<std::size_t>(part->rank())], comm.rank());
    Tensor word = Tensor::from(cx, {1}, std::vector<std::int32_t>{comm.rank()});
    Tensor all = Tensor::zeros(cx, {part->size()}, DType::kI32);
    part->all_gather(word, all, cx.stream)->wait(cx.stream);
    EXPECT_EQ(all.to_host<std::int32_t>(cx),
              std::vector<std::int32_t>(members.begin(), members.end()));
  }
  // A part of a part, while the whole goes on working.
  const auto half = comm.split(comm.rank() / 2, comm.rank());
  const auto single = half->split(half->rank(), 0);
  EXPECT_EQ(single->size(), 1);
  Tensor one = Tensor::from(cx, {1}, std::vector<float>{1});
  Tensor two = Tensor::from(cx, {1}, std::vector<float>{1});
  const WorkPtr in_half = half->all_reduce(one, ReduceOp::kSum, cx.stream);
  const WorkPtr in_whole = comm.all_reduce(two, ReduceOp::kSum, cx.stream);
  in_whole->wait(cx.stream);
  in_half->wait(cx.stream);
  EXPECT_EQ(one.host<float>()[0], static_cast<float>(half->size()));
  EXPECT_EQ(two.host<float>()[0], static_cast<float>(comm.size()));
}

// Waited for in the order opposite to the calls.
void several_in_flight(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<Tensor> sums;
  std::vector<WorkPtr> works;
  for (int k = 0; k < 6; ++k) {
    const std::int64_t n = k % 2 == 0 ? 300007 : 3;
    sums.push_back(
        filled<float>(cx, n, [&](std::int64_t i) { return value<float>(comm.rank() + k, i); }));
    works.push_back(comm.all_reduce(sums.back(), ReduceOp::kSum, cx.stream));
  }
  for (std::size_t k = works.size(); k-- > 0;)
    works[k]->wait(cx.stream);
  for (std::size_t k = 0; k < sums.size(); ++k) {
    expect_elements<float>(
        sums[k],
        [&](std::int64_t i) {
          float sum = value<float>(static_cast<int>(k), i);
          for (int r = 1; r < comm.size(); ++r)
            sum += value<float>(r + static_cast<int>(k), i);
          return sum;
        },
        "one of several sums");
  }
}

void barrier_waits_for_all(Communicator& comm) {
  for (int i = 0; i < 20; ++i)
    comm.barrier();
}

// Bytes by the formula of the algorithm: parts are scattered, then gathered.
void ledger_counts_what_is_sent(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const std::int64_t n = 10007, ranks = comm.size(), r = comm.rank(), size = 4;
  const std::int64_t own = n / ranks + (r < n % ranks ? 1 : 0), others = ranks - 1;
  const auto sent_by = [&](Traffic kind, const std::function<WorkPtr()>& call) {
    const WireCount before = comm.ledger().total(kind);
    call()->wait(cx.stream);
    WireCount sent = comm.ledger().total(kind) - before;
    sent.messages = 0;  // as many as pieces are cut
    return sent;
  };
  const auto count = [](std::int64_t sent, std::int64_t dense) {
    return WireCount{1, sent, dense, 0};
  };
  Tensor t = Tensor::zeros(cx, {n}, DType::kF32);
  Tensor wide = Tensor::zeros(cx, {n * ranks}, DType::kF32);
  Tensor wide_too = Tensor::zeros(cx, {n * ranks}, DType::kF32);
  const std::int64_t reduced = ((n - own) + others * own) * size;
  const Stream s = cx.stream;
  EXPECT_EQ(sent_by(Traffic::kControl, [&] { return comm.all_reduce(t, ReduceOp::kSum, s); }),
            count(reduced, reduced));
  EXPECT_EQ(sent_by(Traffic::kGradient,
                    [&] {
                      return comm.all_reduce(t, ReduceOp::kSum, {s, Traffic::kGradient, 12345});
                    }),
            count(reduced, 12345));
  const std::int64_t direct = n * others * size;
  EXPECT_EQ(
      sent_by(Traffic::kControl, [&] { return comm.reduce_scatter(wide, t, ReduceOp::kSum, s); }),
      count(direct, direct));
  EXPECT_EQ(sent_by(Traffic::kControl, [&] { return comm.all_gather(t, wide, s); }),
            count(direct, direct));
  EXPECT_EQ(sent_by(Traffic::kControl, [&] { return comm.all_to_all(wide, wide_too, s); }),
            count(direct, direct));
  const std::int64_t passed_on = ranks == 1 ? 0 : (others - 1) * own * size;
  const std::int64_t cast = r == 0 ? reduced : passed_on;
  EXPECT_EQ(sent_by(Traffic::kParameter,
                    [&] {
                      return comm.broadcast(t, 0, {s, Traffic::kParameter});
                    }),
            count(cast, cast));
  Tensor in = Tensor::zeros(cx, {n}, DType::kF32);
  const int next = static_cast<int>((r + 1) % ranks);
  const int previous = static_cast<int>((r + ranks - 1) % ranks);
  const P2p ring[] = {{P2p::Dir::kSend, next, t}, {P2p::Dir::kRecv, previous, in}};
  EXPECT_EQ(sent_by(Traffic::kActivation,
                    [&] {
                      return comm.batch_send_recv(ring, {s, Traffic::kActivation});
                    }),
            count(n * size, n * size));
}

template <class F>
void expect_error(ErrorKind kind, const char* text, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no error; expected '" << text << "'";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    EXPECT_THAT(e.what(), testing::ContainsRegex(text));
  }
}

// Refused before anything is sent: the communicator goes on working.
void bad_arguments_are_refused(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const Stream s = cx.stream;
  const int n = comm.size();
  Tensor t = Tensor::zeros(cx, {6}, DType::kF32);
  Tensor ints = Tensor::zeros(cx, {6}, DType::kI32);
  Tensor odd = Tensor::zeros(cx, {6 * n + 1}, DType::kF32);
  expect_error(ErrorKind::kShape, "no mean of i32",
               [&] { comm.all_reduce(ints, ReduceOp::kMean, s); });
  expect_error(ErrorKind::kShape, "no bitwise or of f32",
               [&] { comm.all_reduce(t, ReduceOp::kOr, s); });
  expect_error(ErrorKind::kShape, "empty tensor",
               [&] { comm.all_reduce(Tensor(), ReduceOp::kSum, s); });
  expect_error(ErrorKind::kShape, "all-gather: from \\[6\\]", [&] { comm.all_gather(t, odd, s); });
  expect_error(ErrorKind::kShape, "reduce-scatter: from",
               [&] { comm.reduce_scatter(odd, t, ReduceOp::kSum, s); });
  expect_error(ErrorKind::kShape, "from f32 to i32", [&] { comm.all_to_all(t, ints, s); });
  expect_error(ErrorKind::kUsage, "root", [&] { comm.broadcast(t, n, s); });
  const P2p group[] = {{P2p::Dir::kSend, n + 2, t}};
  expect_error(ErrorKind::kUsage, "batch_send_recv: peer", [&] { comm.batch_send_recv(group, s); });
  comm.all_reduce(t, ReduceOp::kSum, s)->wait(s);
}

}  // namespace

std::vector<ContractCase> contract_cases() {
  return {{"all_reduce_sizes", all_reduce_sizes},
          {"all_reduce_types", all_reduce_types},
          {"extremes_keep_nan", extremes_keep_nan},
          {"reduce_scatter_sizes", reduce_scatter_sizes},
          {"all_gather_sizes", all_gather_sizes},
          {"all_to_all_sizes", all_to_all_sizes},
          {"broadcast_every_root", broadcast_every_root},
          {"exchange_ring", exchange_ring},
          {"exchange_both_ways", exchange_both_ways},
          {"exchange_beside_collectives", exchange_beside_collectives},
          {"observer_hears_of_calls", observer_hears_of_calls},
          {"split_by_odd_colors", split_by_odd_colors},
          {"several_in_flight", several_in_flight},
          {"barrier_waits_for_all", barrier_waits_for_all},
          {"ledger_counts_what_is_sent", ledger_counts_what_is_sent},
          {"bad_arguments_are_refused", bad_arguments_are_refused}};
}

void contract_abort_reaches_waiting_ranks(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  Tensor t = Tensor::zeros(cx, {1000}, DType::kF32);
  const int culprit = comm.size() - 1;
  if (comm.rank() == culprit) {
    comm.abort("disk full on node7");
  } else {
    expect_error(ErrorKind::kComm, "disk full on node7",
                 [&] { comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream); });
  }
  expect_error(ErrorKind::kComm, "disk full on node7", [&] { comm.barrier(); });
}

void contract_missing_rank_times_out(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  const int absent = comm.size() - 1;
  if (comm.rank() == absent) return std::this_thread::sleep_for(std::chrono::seconds(1));
  Tensor t = Tensor::zeros(cx, {1000}, DType::kF32);
  expect_error(ErrorKind::kComm, "all-reduce #0 .4000 bytes of f32, sum.*rank",
               [&] { comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream); });
}

void contract_mismatch_is_reported(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  Tensor t = Tensor::zeros(cx, {1000}, DType::kF32);
  Tensor wide = Tensor::zeros(cx, {1000 * comm.size()}, DType::kF32);
  const bool odd_one = comm.rank() == comm.size() - 1;
  expect_error(ErrorKind::kComm, "all-gather.*all-reduce #0|all-reduce.*all-gather #0", [&] {
    WorkPtr work = odd_one ? comm.all_gather(t, wide, cx.stream)
                           : comm.all_reduce(t, ReduceOp::kSum, cx.stream);
    work->wait(cx.stream);
  });
}

void contract_dropped_handle_fails_the_others(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  Tensor t = Tensor::zeros(cx, {1000}, DType::kF32);
  const bool drops = comm.rank() == 0;
  if (drops) {
    comm.all_reduce(t, ReduceOp::kSum, cx.stream).reset();
    expect_error(ErrorKind::kComm, "rank 0 dropped all-reduce #0", [&] { comm.barrier(); });
  } else if (comm.rank() < comm.size() - 1) {
    expect_error(ErrorKind::kComm, "rank 0 dropped all-reduce #0",
                 [&] { comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream); });
  } else {
    expect_error(ErrorKind::kComm, "rank 0 dropped all-reduce #0", [&] {
      for (;;) {
        Tensor own = Tensor::zeros(cx, {1}, DType::kF32);
        const P2p receive[] = {{P2p::Dir::kRecv, 0, own}};
        comm.batch_send_recv(receive, cx.stream)->wait(cx.stream);
      }
    });
  }
}

}  // namespace gradwire::test
