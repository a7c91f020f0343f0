// Properties of PowerSGD: what it sends, what it keeps, and what it must leave alone.
#include "comm/reducer/power_sgd.h"

#include <atomic>

#include "core/parallel_for.h"
#include "tests/comm/reducer/reducer_world.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::Buckets;
using Values = std::vector<float>;

const std::vector<std::vector<Shape>> kShapes = {
    {{40, 24}, {5, 6}, {33}, {12, 5, 7}}, {{17}, {150, 300}}, {{50}}};

void one_step(Context& cx, Reducer& reducer, Buckets& buckets) {
  for (std::size_t b = 0; b < buckets.layout.size(); ++b)
    reducer.submit(cx, b, {Gradient{buckets.layout[b].flat}});
  reducer.finish(cx);
}

test::SavedState state_of(Reducer& reducer) {
  test::SavedState state;
  test::StateSaver saver(state);
  reducer.visit_state(saver);
  return state;
}

// Element (i, j) of a matrix of rank 2, the same in every step; `turn` gives others.
float rank_two(std::int64_t i, std::int64_t j, int turn) {
  const auto wave = [](std::int64_t at, int k) {
    return std::sin(0.37 * static_cast<double>((at + 1) * k));
  };
  return static_cast<float>(wave(i, 1 + turn) * wave(j, 2) + 0.2 * wave(i, 3) * wave(j, 5 + turn));
}

// Ranks bring different matrices, whose mean has rank 2: it comes out at once, for a rank of 2 and
// for one that leaves directions over, and again two steps after it has changed: Q points elsewhere
// at first, and what that loses comes out in the step after.
TEST(PowerSgd, AMeanOfLowRankIsExact) {
  for (const std::int64_t rank : {2, 4}) {
    run_ranks(3, [rank](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, {{{40, 30}}}), noise(cx, {{{40, 30}}});
      const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {.rank = rank});
      for (std::int64_t s = 0; s < 12; ++s) {
        // The ranks' noise adds up to zero.
        Values mean(1200);
        noise.fill_values(0, s);
        for (std::int64_t i = 0; i < 1200; ++i) {
          const auto at = static_cast<std::size_t>(i);
          mean[at] = rank_two(i / 30, i % 30, s < 6 ? 0 : 3);
          const float own = noise.layout[0].flat.host<float>()[at];
          mine.layout[0].flat.host<float>()[at] =
              mean[at] + static_cast<float>(comm.rank() - 1) * own;
        }
        one_step(cx, *reducer, mine);
        for (std::size_t i = 0; i < mean.size() && s != 6 && s != 7; ++i)
          ASSERT_NEAR(mine.values(0)[i], mean[i], test::tolerance(DType::kF32, 1200))
              << "step " << s << " element " << i;
      }
    });
  }
}

TEST(PowerSgd, NothingIsLostForGood) {
  constexpr std::int64_t kSteps = 200;
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {.rank = 2});
    std::vector<double> in(960), out(960);
    for (std::int64_t s = 0; s < kSteps; ++s) {
      for (int r = 0; r < comm.size(); ++r) {
        mine.fill_values(r, s);
        const Values x = mine.values(0);
        for (std::size_t i = 0; i < in.size(); ++i)
          in[i] += static_cast<double>(x[i]) / comm.size();
      }
      mine.fill_values(comm.rank(), s);
      one_step(cx, *reducer, mine);
      const Values answer = mine.values(0);
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] += static_cast<double>(answer[i]);
    }
    const test::SavedState state = state_of(*reducer);
    Tensor kept = Tensor::zeros(cx, {960}, DType::kF64);
    for (std::size_t i = 0; i < 960; ++i)
      kept.host<double>()[i] = static_cast<double>(state.means.at("powersgd/e/a")[i]);
    comm.all_reduce(kept, ReduceOp::kMean, cx.stream)->wait(cx.stream);
    double owed = 0.0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      EXPECT_NEAR(in[i], out[i] + kept.host<double>()[i], 2e-4) << i;
      owed += std::abs(kept.host<double>()[i]);
    }
    EXPECT_GT(owed, 1.0);
  });
}

TEST(PowerSgd, ReplicasStayEqualBitForBitForAnyNumberOfThreads) {
  for (const int ranks : {1, 2, 7}) {
    std::map<int, std::vector<Values>> of_threads;
    for (const int threads : {1, 2, 3}) {
      std::vector<std::vector<Values>> seen(static_cast<std::size_t>(ranks));
      run_ranks(ranks, [&](Communicator& comm) {
        set_thread_count(threads);
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets mine(cx, kShapes);
        const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
        for (std::int64_t s = 0; s < 5; ++s) {
          mine.fill_values(comm.rank(), s, s == 3 ? 100.0 : 1.0);
          one_step(cx, *reducer, mine);
          for (const std::size_t b : {0U, 1U})
            seen[static_cast<std::size_t>(comm.rank())].push_back(mine.values(b));
        }
      });
      for (const auto& rank : seen)
        ASSERT_EQ(rank, seen[0]);
      of_threads[threads] = seen[0];
    }
    EXPECT_EQ(of_threads[1], of_threads[2]);
    EXPECT_EQ(of_threads[1], of_threads[3]);
  }
}

// r (m + n) floats for a matrix, all of them for a vector, twice (n-1)/n: two messages a bucket.
TEST(PowerSgd, WireBytesAreTheFormulas) {
  constexpr std::int64_t kRank = 4;
  for (const int ranks : {2, 4}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, {{{512, 256}, {64}, {4, 100}}, {{128, 32, 4}}});
      const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {.rank = kRank});
      mine.fill_values(comm.rank(), 0);
      comm.barrier();
      const WireCount before = comm.ledger().total(Traffic::kGradient);
      one_step(cx, *reducer, mine);
      const WireCount sent = comm.ledger().total(Traffic::kGradient) - before;
      const std::int64_t floats = kRank * (512 + 256) + 64 + 400 + kRank * (128 + 128);
      EXPECT_EQ(sent.sent_bytes, 2 * (ranks - 1) * 4 * floats / ranks);
      std::int64_t dense = 0;
      for (const FlatBucket& b : mine.layout)
        dense += 2 * (ranks - 1) * 4 * b.numel() / ranks;
      EXPECT_EQ(sent.dense_bytes, dense);
      EXPECT_EQ(sent.calls, 4);
    });
  }
}

// A matrix without a gradient stays zero and does not forget how to wake up; nor does a direction
// that was lost. Rows and columns that no rank touches stay zero beside others.
TEST(PowerSgd, WhatNobodyTouchesStaysZeroAndWakesUp) {
  for (const int ranks : {1, 3}) {
    run_ranks(ranks, [](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, {{{40, 30}, {20, 30}}});
      const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {.rank = 2});
      const std::int64_t b = mine.layout[0].begins[1];
      for (std::int64_t s = 0; s < 8; ++s) {
        mine.fill_values(comm.rank(), s);
        float* const x = mine.layout[0].flat.host<float>().data();
        for (std::int64_t i = 0; i < 1200; ++i)
          if (i / 30 == 7 || i % 30 == 11) x[i] = 0.0F;
        // One rank's alone, so that a mean is a share of it.
        const bool awake = s >= 4 && comm.rank() == comm.size() - 1;
        for (std::int64_t i = 0; i < 600; ++i)
          x[b + i] = awake ? rank_two(i / 30, i % 30, 0) : 0.0F;
        one_step(cx, *reducer, mine);
        for (std::int64_t i = 0; i < 1200; ++i) {
          if (i / 30 == 7 || i % 30 == 11) {
            ASSERT_EQ(x[i], 0.0F) << i;
          } else {
            ASSERT_NE(x[i], 0.0F) << i;
          }
        }
        for (std::int64_t i = 0; i < 600; ++i) {
          const float mean =
              s < 4 ? 0.0F : rank_two(i / 30, i % 30, 0) / static_cast<float>(comm.size());
          ASSERT_NEAR(x[b + i], mean, s < 4 ? 0.0 : test::tolerance(DType::kF32, 600))
              << "step " << s << " element " << i;
        }
      }
    });
  }
}

// Momenta of coordinates that the caller says are dead stay zero, and owe nothing, whatever their
// values; here those of no whole row or column.
TEST(PowerSgd, NamedDeadStayZero) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes), quiet(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
    const auto without = make_power_sgd_reducer(cx, comm, quiet.layout, {});
    const std::int64_t n = mine.layout[0].numel();
    const Tensor momentum = Tensor::zeros(cx, {n}, DType::kF32);
    const Tensor expected = Tensor::zeros(cx, {n}, DType::kF32);
    const Tensor live = Tensor::zeros(cx, {(n + 7) / 8}, DType::kU8);
    fill(cx, live, 0xFF);
    for (std::int64_t b = 0; b < live.numel(); b += 5)
      live.host<std::uint8_t>()[static_cast<std::size_t>(b)] = 0x0F;
    const auto dead = [](std::size_t i) { return i / 8 % 5 == 0 && i % 8 >= 4; };
    for (std::int64_t s = 0; s < 5; ++s) {
      mine.fill_values(comm.rank(), s);
      quiet.fill_values(comm.rank(), s);
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
        if (dead(i)) quiet.layout[0].flat.host<float>()[i] = 0.0F;
      reducer->submit(cx, 0, {Momentum{mine.layout[0].flat, 1.0F, momentum, 0.9F}, live});
      without->submit(cx, 0, {Momentum{quiet.layout[0].flat, 1.0F, expected, 0.9F}, live});
      reducer->finish(cx);
      without->finish(cx);
      const Values m = momentum.to_host<float>(cx);
      ASSERT_EQ(m, expected.to_host<float>(cx));
      const Values e = state_of(*reducer).means.at("powersgd/e/a");
      for (std::size_t i = 0; i < e.size(); ++i) {
        EXPECT_EQ(m[i] == 0.0F, dead(i)) << i;
        EXPECT_EQ(e[i] == 0.0F, dead(i)) << i;
      }
      for (std::size_t i = e.size(); i < m.size(); ++i)
        if (dead(i)) {
          EXPECT_EQ(m[i], 0.0F) << i;
        }
    }
  });
}

// 2k steps are k steps, state saved, a new reducer, state loaded, k more; a matrix that sleeps
// until then is drawn for as it would have been.
TEST(PowerSgd, ARestartChangesNoBit) {
  constexpr std::int64_t kHalf = 5;
  for (const int ranks : {1, 3}) {
    std::vector<test::SavedState> saved(static_cast<std::size_t>(ranks));
    std::vector<Values> whole(saved.size());
    const auto run = [&](Communicator& comm, std::int64_t first, std::int64_t last) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, kShapes);
      const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
      if (first > 0) {
        test::StateLoader loader(saved, comm.rank(), comm.size());
        reducer->visit_state(loader);
      }
      for (std::int64_t s = first; s < last; ++s) {
        mine.fill_values(comm.rank(), s);
        if (s < kHalf + 2) fill(cx, mine.layout[0].flat.slice(0, 960), 0.0);
        one_step(cx, *reducer, mine);
        if (s + 1 == kHalf) saved[static_cast<std::size_t>(comm.rank())] = state_of(*reducer);
      }
      Values all = mine.values(0);
      const Values more = mine.values(1);
      all.insert(all.end(), more.begin(), more.end());
      return all;
    };
    run_ranks(ranks, [&](Communicator& comm) {
      whole[static_cast<std::size_t>(comm.rank())] = run(comm, 0, 2 * kHalf);
    });
    run_ranks(ranks, [&](Communicator& comm) {
      EXPECT_EQ(run(comm, kHalf, 2 * kHalf), whole[static_cast<std::size_t>(comm.rank())]);
    });
  }
}

// What is answered depends on the mean of the residuals alone, so that it goes on with any number
// of ranks: here with the same gradient on all of them.
TEST(PowerSgd, AnotherNumberOfRanksGoesOn) {
  std::vector<test::SavedState> saved(4);
  const auto later = [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
    test::StateLoader loader(saved, comm.rank(), comm.size());
    reducer->visit_state(loader);
    for (std::int64_t s = 10; s < 13; ++s) {
      mine.fill_values(0, s);
      one_step(cx, *reducer, mine);
    }
    return mine.values(0);
  };
  std::vector<Values> straight(4);
  run_ranks(4, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
    for (std::int64_t s = 0; s < 10; ++s) {
      mine.fill_values(comm.rank(), s);
      one_step(cx, *reducer, mine);
    }
    saved[static_cast<std::size_t>(comm.rank())] = state_of(*reducer);
  });
  run_ranks(4, [&](Communicator& comm) {
    straight[static_cast<std::size_t>(comm.rank())] = later(comm);
  });
  for (const int ranks : {1, 2, 7}) {
    run_ranks(ranks, [&](Communicator& comm) {
      const Values found = later(comm);
      for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_NEAR(found[i], straight[0][i], 8 * test::tolerance(DType::kF32, 960)) << i;
    });
  }
}

TEST(PowerSgd, AllocatesNoTensorsInSteadyState) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
    mine.fill_values(comm.rank(), 0);
    one_step(cx, *reducer, mine);
    const MemoryStats before = runtime.allocator().stats();
    for (std::int64_t s = 1; s < 4; ++s) {
      mine.fill_values(comm.rank(), s);
      one_step(cx, *reducer, mine);
    }
    EXPECT_EQ(runtime.allocator().stats().system_allocations, before.system_allocations);
    EXPECT_EQ(runtime.allocator().stats().peak_bytes, before.peak_bytes);
  });
}

// Whoever calls has voted on that; if it happens all the same, no rank waits for the other.
TEST(PowerSgd, WhatIsNotFiniteEndsAllRanks) {
  std::atomic<int> failed = 0;
  const auto run = [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, kShapes);
    const auto reducer = make_power_sgd_reducer(cx, comm, mine.layout, {});
    mine.fill_values(comm.rank(), 0);
    if (comm.rank() == 1) mine.layout[0].flat.host<float>()[3] = NAN;
    try {
      one_step(cx, *reducer, mine);
    } catch (const Error&) {
      ++failed;
      throw;
    }
  };
  test::expect_error(ErrorKind::kNumeric, "'a' is not finite", [&] { run_ranks(2, run); });
  EXPECT_EQ(failed, 2);
}

TEST(PowerSgd, NeedsARank) {
  Runtime runtime;
  const auto world = make_local_world(1);
  const Buckets mine(runtime.context(), 10);
  test::expect_error(ErrorKind::kConfig, "a rank of 0", [&] {
    make_power_sgd_reducer(runtime.context(), *world[0], mine.layout, {.rank = 0});
  });
}

}  // namespace
}  // namespace gradwire
