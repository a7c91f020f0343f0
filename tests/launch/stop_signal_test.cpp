#include "launch/start/stop_signal.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/ops/linear/gemm.h"

namespace gradwire {
namespace {

void send(int number) {
  kill(getpid(), number);
}

// The signal lands on another thread: whether it has within ten seconds.
bool arrives(const StopSignal& stop) {
  for (int i = 0; i < 10000 && !stop.requested(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return stop.requested();
}

// Whether it reaches a handler within ten seconds: this thread blocks it and sees it wait.
bool is_handled(int number) {
  const auto waits = [&] {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, number) == 1;
  };
  for (int i = 0; i < 10000 && waits(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return !waits();
}

class EachSignal : public ::testing::TestWithParam<int> {};

TEST_P(EachSignal, SetsTheFlag) {
  const StopSignal stop;
  EXPECT_FALSE(stop.requested());
  EXPECT_EQ(stop.signal(), 0);
  send(GetParam());
  EXPECT_TRUE(arrives(stop));
  EXPECT_EQ(stop.signal(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(StopSignal, EachSignal, ::testing::ValuesIn(StopSignal::kSignals));

TEST(StopSignal, EachObjectStartsAnew) {
  {
    const StopSignal stop;
    send(SIGTERM);
    EXPECT_TRUE(arrives(stop));
  }
  const StopSignal stop;
  EXPECT_FALSE(stop.requested());
  send(SIGTERM);  // the first of this object: the process goes on
  EXPECT_TRUE(arrives(stop));
}

TEST(StopSignal, WarningAndThenTheEndOfTimeIsOneRequest) {
  const StopSignal stop;
  send(SIGUSR1);
  EXPECT_TRUE(arrives(stop));
  for (const int number : {SIGUSR1, SIGTERM, SIGTERM, SIGHUP, SIGUSR2, SIGTERM, SIGINT, SIGINT}) {
    send(number);
    EXPECT_TRUE(is_handled(number)) << number;
  }
  EXPECT_EQ(stop.signal(), SIGUSR1);
}

TEST(StopSignal, IsAcknowledgedOnce) {
  testing::internal::CaptureStderr();
  {
    const StopSignal stop("[rank 3] ");
    send(SIGTERM);
    EXPECT_TRUE(arrives(stop));
    send(SIGUSR1);
    EXPECT_TRUE(is_handled(SIGUSR1));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "[rank 3] gradwire: SIGTERM: will stop after what is under way, with a checkpoint\n");
}

TEST(StopSignal, SignalsThatComeLateChangeNothing) {
  { const StopSignal stop; }
  for (const int number : StopSignal::kSignals)
    raise(number);
}

TEST(StopSignal, ThreadsThatComputeBlockTheSignals) {
  const auto blocked = [] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 &&
           sigismember(&mask, SIGUSR2) == 1;
  };
  EXPECT_FALSE(blocked());
  {
    const StopSignal stop;
    EXPECT_TRUE(blocked());
    bool later_thread = false;
    std::thread([&] { later_thread = blocked(); }).join();
    EXPECT_TRUE(later_thread);
  }
  EXPECT_FALSE(blocked());
}

// With handlers on the computing thread this ends in a corrupted heap within a second.
TEST(StopSignal, DoesNotDisturbMatrixProducts) {
  const StopSignal stop;
  Runtime runtime;
  constexpr std::int64_t kSide = 256;
  std::vector<float> a(kSide * kSide), first(kSide * kSide), c(kSide * kSide);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = static_cast<float>(i % 7) - 3.0F;
  const auto multiply = [&](std::vector<float>& out) {
    Gemm g;
    g.m = g.n = g.k = kSide;
    g.a = g.b = {a.data(), kSide, false, DType::kF32, 0, nullptr};
    g.b.transposed = true;
    g.c = out.data();
    g.ldc = kSide;
    gemm(runtime.context(), g);
  };
  multiply(first);
  std::atomic<bool> done{false};
  std::thread ringer([&] {
    while (!done) {
      send(SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  int products = 0;
  int wrong = 0;
  for (; std::chrono::steady_clock::now() < end; ++products) {
    multiply(c);
    wrong += c == first ? 0 : 1;
  }
  done = true;
  ringer.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(products, 0);
  EXPECT_TRUE(stop.requested());
}

TEST(StopSignal, OnlyOneAtATime) {
  const StopSignal stop;
  EXPECT_THROW(StopSignal(), Error);
  send(SIGINT);
  EXPECT_TRUE(arrives(stop));  // the first still works
}

TEST(StopSignalDeathTest, OnlyASecondInterruptSomeTimeAfterTheFirstEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const StopSignal stop;
        send(SIGINT);
        arrives(stop);
        std::this_thread::sleep_for(std::chrono::milliseconds(1100));
        send(SIGTERM);
        is_handled(SIGTERM);
        send(SIGINT);
        std::this_thread::sleep_for(std::chrono::seconds(10));
      },
      ::testing::ExitedWithCode(130), "SIGINT: will stop .*; once more ends at once");
  EXPECT_EXIT(
      {
        const StopSignal stop;
        send(SIGTERM);
        arrives(stop);
        std::this_thread::sleep_for(std::chrono::milliseconds(1100));
        send(SIGTERM);
        is_handled(SIGTERM);
        send(SIGINT);  // the first of its kind
        is_handled(SIGINT);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        ::_exit(75);
      },
      ::testing::ExitedWithCode(75), "");
}

// As nohup starts programs; a process of its own, since what holds is what was at first.
TEST(StopSignalDeathTest, HangupThatIsIgnoredStaysSo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::signal(SIGHUP, SIG_IGN);
        const StopSignal stop;
        send(SIGHUP);
        is_handled(SIGHUP);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        ::_exit(stop.requested() ? 1 : 0);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gradwire
