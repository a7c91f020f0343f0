// Checkpoints of sharded runs: resumed bit for bit, by other numbers of ranks, and by runs that
// keep their state whole.
#include <cmath>

#include <gtest/gtest.h>

#include "parallel/replica_check.h"
#include "tests/data/temp_folder.h"
#include "tests/parallel/sharded/job.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::At;
using test::Job;
using test::JobConfig;
using testing_data::TempFolder;

void save(Context& cx, const TempFolder& folder, Job& job, Coordinator& ranks) {
  const SaveResult result =
      save_checkpoint(cx, {folder.file("c"), {"m", "r"}}, 5, job.state(), ranks);
  ASSERT_TRUE(result.committed) << result.why;
}
void load(Context& cx, const TempFolder& folder, Job& job, Coordinator& ranks) {
  load_checkpoint(cx, paths_of(list_checkpoints(folder.file("c"))), {"m"}, job.state(), ranks);
}

// Steps [first, last] of a job of `ranks`, loaded before and saved after if there are folders.
std::vector<float> train(JobConfig config, int ranks, std::pair<int, int> steps,
                         const test::Gradient& gradient, const TempFolder* from,
                         const TempFolder* to) {
  std::vector<float> values;
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Job job(cx, comm, config);
    const auto all = make_coordinator(cx, comm);
    if (from != nullptr) load(cx, *from, job, *all);
    for (int step = steps.first; step <= steps.second; ++step)
      job.step(step, gradient);
    check_replicas(cx, comm, steps.second, job.params());
    if (to != nullptr) save(cx, *to, job, *all);
    if (comm.rank() == 0) values = job.values();
  });
  return values;
}

// The same on all ranks, and in eighths: the mean over any few ranks is the same bit for bit.
double eighths(const At& at) {
  const auto seed = static_cast<std::uint64_t>(at.step * 8 + static_cast<int>(at.p));
  return (random_word(seed, static_cast<std::uint64_t>(at.i)) % 16) / 8.0 - 0.75;
}

TEST(Resharding, AnyCutGoesOnWhereAnyOtherStopped) {
  for (const char* rule : {"adamw", "sgd"}) {
    const JobConfig whole{.rule = rule}, sharded{.rule = rule, .sharded = true};
    const std::vector<float> expected = train(whole, 1, {1, 10}, eighths, nullptr, nullptr);
    for (const int saved_by : {1, 2, 3}) {
      for (const bool was_sharded : {false, true}) {
        const TempFolder folder;
        train(was_sharded ? sharded : whole, saved_by, {1, 5}, eighths, nullptr, &folder);
        for (const int ranks : {1, 2, 3, 4}) {
          EXPECT_EQ(train(sharded, ranks, {6, 10}, eighths, &folder, nullptr), expected)
              << rule << " " << saved_by << " -> " << ranks;
          EXPECT_EQ(train(whole, ranks, {6, 10}, eighths, &folder, nullptr), expected)
              << rule << " " << saved_by << " -> " << ranks << " whole";
        }
      }
    }
  }
}

JobConfig onebit() {
  return {.rule = "onebit_adam", .sharded = true, .clip_norm = 1.0, .freeze_step = 4};
}

TEST(Resharding, OnebitAdamResumesBitForBit) {
  for (const int stop : {2, 4, 5, 9}) {
    for (const int ranks : {1, 2, 3}) {
      const TempFolder folder;
      train(onebit(), ranks, {1, stop}, test::noisy, nullptr, &folder);
      EXPECT_EQ(train(onebit(), ranks, {stop + 1, 14}, test::noisy, &folder, nullptr),
                train(onebit(), ranks, {1, 14}, test::noisy, nullptr, nullptr))
          << stop << " of " << ranks;
    }
  }
}

// In every step around a tensor that is awake: the first without it, some in the middle, its last
// one and the one in which it takes part again.
TEST(Resharding, OnebitAdamResumesBitForBitAroundAWakingTensor) {
  const auto waking = [](const At& at) {
    return at.p == 2 && at.i == 3 && at.step >= 8 ? (at.rank == 0 ? 1.0 : 0.0) : test::noisy(at);
  };
  for (const auto& [sharded, method] : {std::pair{false, "ef"}, {true, "ef"}, {false, "ef21"}}) {
    JobConfig config = onebit();
    config.sharded = sharded;
    config.method = method;
    config.thaw_ratio = 0.0;
    const std::vector<float> expected = train(config, 2, {1, 80}, waking, nullptr, nullptr);
    for (const int stop : {8, 9, 30, 48}) {
      const TempFolder folder;
      train(config, 2, {1, stop}, waking, nullptr, &folder);
      EXPECT_EQ(train(config, 2, {stop + 1, 80}, waking, &folder, nullptr), expected)
          << stop << " " << method << (sharded ? " sharded" : "");
    }
  }
}

// The mean of the workers' residuals and the owners' are kept; train() compares the replicas.
TEST(Resharding, OnebitAdamGoesOnWithOtherRanks) {
  const TempFolder folder;
  const std::vector<float> before = train(onebit(), 3, {1, 9}, test::noisy, nullptr, &folder);
  for (const int ranks : {1, 2, 4}) {
    const std::vector<float> after =
        train(onebit(), ranks, {10, 10}, test::noisy, &folder, nullptr);
    for (std::size_t i = 0; i < before.size(); ++i)
      ASSERT_NEAR(after[i], before[i], 0.2) << i;
  }
}

// The state is that of the whole rule, which goes on from it with a finer v, and back.
TEST(Resharding, OnebitAdamGoesOnWholeAndSharded) {
  JobConfig whole = onebit();
  whole.sharded = false;
  for (const auto& [first, second] : {std::pair{onebit(), whole}, std::pair{whole, onebit()}}) {
    const TempFolder folder;
    train(first, 2, {1, 9}, test::noisy, nullptr, &folder);
    const std::vector<float> same = train(first, 2, {10, 12}, test::noisy, &folder, nullptr);
    const std::vector<float> other = train(second, 2, {10, 12}, test::noisy, &folder, nullptr);
    EXPECT_NE(same, other);
    for (std::size_t i = 0; i < same.size(); ++i)
      ASSERT_NEAR(other[i], same[i], 0.005) << i;
  }
}

// Of another size, or of each rank's own: no slices of the same tensor.
TEST(Resharding, OnlyWholeTensorsOfTheSameSizeAreCut) {
  struct State final : Stateful {
    void visit_state(StateVisitor& v) override {
      if (full >= 0) return v.slice("x", t, 0, full);
      v.tensor("x", t, share);
    }
    Tensor t;
    std::int64_t full = -1;
    Share share = Share::kReplicated;
  };
  Runtime runtime;
  Context& cx = runtime.context();
  const auto world = make_local_world(1);
  const auto alone = make_coordinator(cx, *world[0]);
  State saved;
  saved.t = Tensor::from(cx, {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  const TempFolder replicated, mean;
  save_checkpoint(cx, {replicated.file("c"), {"m", "r"}}, 5, {{}, {&saved}}, *alone);
  saved.share = Share::kMean;
  save_checkpoint(cx, {mean.file("c"), {"m", "r"}}, 5, {{}, {&saved}}, *alone);
  const auto load_into = [&](const TempFolder& folder, std::int64_t size) {
    State fresh;
    fresh.t = Tensor::zeros(cx, {size}, DType::kF32);
    fresh.full = size;
    load_checkpoint(cx, paths_of(list_checkpoints(folder.file("c"))), {"m"}, {{}, {&fresh}},
                    *alone);
    return fresh.t.to_host<float>(cx);
  };
  EXPECT_EQ(load_into(replicated, 6), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  test::expect_error(ErrorKind::kCheckpoint, "x: saved as tensor f32 [2, 3], wanted as",
                     [&] { load_into(replicated, 5); });
  test::expect_error(ErrorKind::kCheckpoint, "to be averaged", [&] { load_into(mean, 6); });
}

}  // namespace
}  // namespace gradwire
