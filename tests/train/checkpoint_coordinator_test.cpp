#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/support/tcp_ranks.h"
#include "train/coordinator.h"
#include "train/run_on_all_ranks.h"

namespace gradwire {
namespace {

// Longer than a beat.
constexpr std::chrono::milliseconds kTimeout(2000);

TEST(Coordinator, GathersTextsOfEveryLength) {
  for (const int n : {1, 2, 3, 7}) {
    run_ranks(n, [n](Communicator& comm) {
      Runtime runtime;
      const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
      EXPECT_EQ(ranks->size(), n);
      const auto text = [](int rank) {
        return std::string(static_cast<std::size_t>(rank * rank * 100),
                           static_cast<char>('a' + rank));
      };
      const std::vector<std::string> all = ranks->all_gather(text(ranks->rank()));
      ASSERT_EQ(all.size(), static_cast<std::size_t>(n));
      for (int r = 0; r < n; ++r)
        EXPECT_EQ(all[static_cast<std::size_t>(r)], text(r));
      EXPECT_EQ(ranks->all_gather(""), std::vector<std::string>(static_cast<std::size_t>(n)));
    });
  }
}

// As ranks mostly have: they need not be sent to be known.
TEST(Coordinator, TextsThatAreEqualDoNotTravel) {
  run_ranks(16, [](Communicator& comm) {
    Runtime runtime;
    const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
    const std::string text(10'000, 'x');
    const std::int64_t before = comm.ledger().total().sent_bytes;
    EXPECT_EQ(ranks->all_gather(text), std::vector<std::string>(16, text));
    EXPECT_LT(comm.ledger().total().sent_bytes - before, 1000);
    // Of one length, and yet another.
    const std::string other = ranks->rank() == 3 ? std::string(10'000, 'y') : text;
    const std::vector<std::string> all = ranks->all_gather(other);
    for (std::size_t r = 0; r < all.size(); ++r)
      EXPECT_EQ(all[r].front(), r == 3 ? 'y' : 'x');
  });
}

// The first to know of it leaves at once; that it has left must not reach the others before why.
TEST(Coordinator, TheErrorOfOneRankIsTheErrorOfAll) {
  const auto fails = [](Communicator& comm) {
    Runtime runtime;
    const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
    run_on_all_ranks(*ranks, [&] {
      if (ranks->rank() == 0) throw Error(ErrorKind::kConfig, "in use");
    });
  };
  constexpr int kWorlds = 100;
  for (int world = 0; world < kWorlds; ++world) {
    const auto failures = test::failures_of_tcp_ranks(test::tcp_options(3), fails);
    EXPECT_THAT(failures, testing::ElementsAre("recipe: in use", "recipe: rank 0: in use",
                                               "recipe: rank 0: in use"));
  }
}

TEST(Coordinator, GathersLongTextsOnRank0Alone) {
  for (const int n : {1, 2, 5}) {
    run_ranks(n, [n](Communicator& comm) {
      Runtime runtime;
      const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
      const auto text = [](int rank) {
        return std::string(rank == 1 ? 0U : 5000U + 1000U * static_cast<std::size_t>(rank), 'x');
      };
      const std::int64_t before = comm.ledger().total().sent_bytes;
      const std::vector<std::string> all = ranks->gather(text(ranks->rank()));
      const std::int64_t sent = comm.ledger().total().sent_bytes - before;
      // Its own text, once, and eight bytes for its length to each of the others.
      EXPECT_EQ(sent, 8 * (n - 1) + (ranks->rank() == 0
                                         ? 0
                                         : static_cast<std::int64_t>(text(ranks->rank()).size())));
      ASSERT_EQ(all.size(), ranks->rank() == 0 ? static_cast<std::size_t>(n) : 0U);
      for (std::size_t r = 0; r < all.size(); ++r)
        EXPECT_EQ(all[r], text(static_cast<int>(r)));
    });
  }
}

constexpr std::chrono::milliseconds kLongWork(5000);

// One rank works for longer than any wait may take.
void gather_after_long_work(Communicator& comm) {
  Runtime runtime;
  const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
  const std::string name = std::to_string(ranks->rank());
  const std::vector<std::string> all = ranks->all_gather_after([&] {
    if (comm.rank() == 1) std::this_thread::sleep_for(kLongWork);
    return name;
  });
  EXPECT_THAT(all, testing::ElementsAre("0", "1", "2"));
}

TEST(Coordinator, WorkMayTakeLongerThanSilence) {
  run_ranks(3, gather_after_long_work, {.timeout = kTimeout});
}

TEST(Coordinator, WorkMayTakeLongerThanSilenceOverTcp) {
  test::run_tcp_ranks(3, gather_after_long_work, {.timeout = kTimeout});
}

// The work of one rank may use the communicator of all, and memory, while the others ask for it.
TEST(Coordinator, WorkMayCommunicate) {
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const std::unique_ptr<Coordinator> ranks = make_coordinator(cx, comm);
    const std::vector<std::string> sums = ranks->all_gather_after([&] {
      Tensor t = Tensor::from(cx, {1}, std::vector<float>{1.0F + static_cast<float>(comm.rank())});
      for (int i = 0; i < 200; ++i) {
        comm.all_reduce(t, ReduceOp::kMax, cx.stream)->wait(cx.stream);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      return std::to_string(t.host<float>()[0]);
    });
    EXPECT_THAT(sums, testing::Each(std::to_string(3.0F)));
  });
}

// A peer that is silent, unlike one at work, is given up after the time for a wait, and who is
// still at work is told at once.
TEST(Coordinator, SilenceEndsTheWaitAndTheWork) {
  std::mutex mutex;
  std::set<int> told;
  run_ranks(3,
            [&](Communicator& comm) {
              Runtime runtime;
              std::atomic<bool> lost = false;
              const auto ranks =
                  make_coordinator(runtime.context(), comm, [&](const std::string& why) {
                    EXPECT_THAT(why, testing::HasSubstr("rank 2"));
                    const std::lock_guard lock(mutex);
                    told.insert(comm.rank());
                    lost = true;
                  });
              if (comm.rank() == 2) return std::this_thread::sleep_for(kLongWork);
              EXPECT_THROW(ranks->all_gather_after([&] {
                while (comm.rank() == 0 && !lost)
                  std::this_thread::sleep_for(std::chrono::milliseconds(1));
                return "";
              }),
                           Error);
            },
            {.timeout = kTimeout});
  EXPECT_EQ(told, std::set<int>{0});
}

TEST(Coordinator, AllOrNoneTellsEveryRankTheReasons) {
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
    const int rank = ranks->rank();
    EXPECT_THAT(all_or_none(*ranks, [&] { return std::to_string(rank); }),
                testing::ElementsAre("0", "1", "2"));
    const auto fails_with = [&](ErrorKind kind) {
      testing_data::expect_error(kind == ErrorKind::kIo ? ErrorKind::kIo : ErrorKind::kCheckpoint,
                                 {"rank 0: no space; rank 2: quota"}, [&] {
                                   all_or_none(*ranks, [&]() -> std::string {
                                     if (rank == 0) throw Error(kind, "no\nspace");
                                     if (rank == 2) throw std::runtime_error("quota");
                                     return "";
                                   });
                                 });
    };
    fails_with(ErrorKind::kIo);
    fails_with(ErrorKind::kData);
    EXPECT_THAT(all_or_none(*ranks, [] { return ""; }), testing::SizeIs(3));
    EXPECT_THAT(all_or_none_to_first(*ranks, [&] { return std::to_string(rank); }),
                rank == 0 ? testing::ElementsAre("0", "1", "2")
                          : testing::Matcher<std::vector<std::string>>(testing::IsEmpty()));
    testing_data::expect_error(ErrorKind::kCheckpoint, {"rank 1: quota"}, [&] {
      all_or_none_to_first(*ranks, [&]() -> std::string {
        if (rank == 1) throw std::runtime_error("quota");
        return "";
      });
    });
  });
}

}  // namespace
}  // namespace gradwire
