// State that ranks do not share, saved by one number of ranks and loaded by another.
#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/train/checkpoint_run.h"

namespace gradwire {
namespace {

using testing::HasSubstr;
using testing_data::TempFolder;

constexpr std::int64_t kFull = 103;

// Where rank r's slice begins; the last of four ranks has an empty one.
std::int64_t begin_of(int rank, int ranks) {
  const std::int64_t part = ranks == 4 ? 40 : (kFull + ranks - 1) / ranks;
  return std::min<std::int64_t>(kFull, rank * part);
}

class Residuals final : public Stateful {
 public:
  Residuals(int rank, int ranks, double seed) : rank_(rank), ranks_(ranks) {
    error =
        Tensor::from(cx, {3}, std::vector<float>{value(seed, 0), value(seed, 1), value(seed, 2)});
    rough = Tensor::zeros(cx, {2}, DType::kBf16);
    fill(cx, rough, seed + rank);
    drift = 0.1 * rank + seed;
    const std::int64_t begin = begin_of(rank, ranks), end = begin_of(rank + 1, ranks);
    std::vector<float> elements;
    for (std::int64_t i = begin; i < end; ++i)
      elements.push_back(static_cast<float>(seed == 0.0 ? -1.0 : 1.0 / static_cast<double>(i + 1)));
    server = Tensor::from(cx, {end - begin}, elements);
  }
  void visit_state(StateVisitor& v) override {
    v.tensor("e", error, Share::kMean);
    v.tensor("rough", rough, Share::kMean);
    v.number("drift", drift, Share::kMean);
    v.slice("server", server, begin_of(rank_, ranks_), full);
    if (with_count) v.number("count", count, Share::kMean);
    if (!with_reference) return;
    v.tensor("reference", reference, Share::kPerLayout);
    v.number("age", age, Share::kPerLayout);
  }
  float value(double seed, int i) const {
    return static_cast<float>(std::sin(seed * (rank_ + 1) + 10.0 * i));
  }

  Runtime runtime;
  Context& cx = runtime.context();
  Tensor error, rough, server, reference = Tensor::zeros(cx, {2}, DType::kF32);
  double drift = 0.0;
  std::int64_t full = kFull, count = 0;
  std::int64_t age = 0;
  bool with_count = false, with_reference = false;

 private:
  int rank_, ranks_;
};

void save(const TempFolder& folder, int ranks, const std::function<void(Residuals&)>& change = {}) {
  test::ThreadRanks::run(ranks, [&](Coordinator& rank) {
    Residuals mine(rank.rank(), ranks, 7.0);
    if (change) change(mine);
    const SaveResult result =
        save_checkpoint(mine.cx, {folder.file("checkpoints"), {"m", "r"}}, 5, {{}, {&mine}}, rank);
    EXPECT_TRUE(result.committed) << result.why;
  });
}

template <class F>
void load(const TempFolder& folder, int ranks, const F& check) {
  test::ThreadRanks::run(ranks, [&](Coordinator& rank) {
    Residuals mine(rank.rank(), ranks, 0.0);
    check(mine, rank, [&] {
      load_checkpoint(mine.cx, paths_of(list_checkpoints(folder.file("checkpoints"))), {"m"},
                      {{}, {&mine}}, rank);
    });
  });
}

TEST(CheckpointResize, MeansAndSlicesFitAnyNumberOfRanks) {
  for (const int saved : {1, 3, 4}) {
    const TempFolder folder;
    save(folder, saved);
    std::vector<double> mean(3), drift(1);
    for (int r = 0; r < saved; ++r) {
      const Residuals one(r, saved, 7.0);
      for (int i = 0; i < 3; ++i)
        mean[static_cast<std::size_t>(i)] += static_cast<double>(one.value(7.0, i)) / saved;
      drift[0] += one.drift / saved;
    }
    for (const int now : {1, 2, 3, 4, 7}) {
      load(folder, now, [&](Residuals& mine, Coordinator& rank, const auto& load_it) {
        load_it();
        const Residuals own(rank.rank(), now, 7.0);
        const std::vector<float> e = mine.error.to_host<float>(mine.cx);
        for (int i = 0; i < 3; ++i) {
          const auto at = static_cast<std::size_t>(i);
          if (now == saved) {
            EXPECT_EQ(e[at], own.value(7.0, i));
          } else {
            EXPECT_NEAR(e[at], mean[at], 1e-6);
          }
        }
        EXPECT_NEAR(mine.drift, now == saved ? own.drift : drift[0], 1e-12);
        if (now != saved) {
          EXPECT_NEAR(static_cast<double>(static_cast<float>(mine.rough.template host<Bf16>()[0])),
                      7.0 + (saved - 1) / 2.0, 0.04);
        }
        EXPECT_EQ(mine.server.to_host<float>(mine.cx), own.server.to_host<float>(own.cx));
      });
    }
  }
}

// Rank 0's fits; that of rank 1 would be written far beyond the tensor that takes the mean.
TEST(CheckpointResize, EveryRanksTensorIsOfTheShapeThatIsReadOrRefused) {
  const TempFolder folder;
  save(folder, 2, [](Residuals& r) {
    const bool is_rank_1 = r.drift > 7.05;
    if (is_rank_1) r.error = Tensor::zeros(r.cx, {50000}, DType::kF32);
  });
  load(folder, 1, [](Residuals&, Coordinator&, const auto& load_it) {
    try {
      load_it();
      FAIL() << "loaded";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kCheckpoint);
      EXPECT_THAT(e.what(), HasSubstr("e: saved as tensor f32 [50000]"));
    }
  });
}

TEST(CheckpointResize, SlicesThatDoNotMakeUpTheTensorAreRefused) {
  const TempFolder folder;
  save(folder, 4, [](Residuals& r) { r.full = kFull + 1; });
  load(folder, 4, [](Residuals& mine, Coordinator&, const auto& load_it) {
    mine.full = kFull + 1;
    try {
      load_it();
      FAIL() << "loaded";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kCheckpoint);
      EXPECT_THAT(e.what(), HasSubstr("server: its slices do not make up its 104 elements"));
    }
  });
  const CheckpointReport report =
      verify_checkpoint(list_checkpoints(folder.file("checkpoints")).front().path);
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_THAT(report.problems[0], HasSubstr("do not make up"));
}

TEST(CheckpointResize, AnotherTensorThanTheSlicedOneIsRefused) {
  const TempFolder folder;
  save(folder, 3);
  load(folder, 2, [](Residuals& mine, Coordinator&, const auto& load_it) {
    mine.full = kFull + 1;
    EXPECT_THROW(load_it(), Error);
  });
}

// On another number of ranks it stays as it was, and may be missing or left over.
TEST(CheckpointResize, WhatIsOfOneLayoutAloneIsDropped) {
  const TempFolder folder;
  save(folder, 3, [](Residuals& r) {
    r.with_reference = true;
    fill(r.cx, r.reference, r.error.host<float>()[0]);
    r.age = 9;
  });
  for (const int now : {2, 3}) {
    load(folder, now, [&](Residuals& mine, Coordinator& rank, const auto& load_it) {
      mine.with_reference = true;
      load_it();
      const float want = now == 3 ? Residuals(rank.rank(), 3, 7.0).value(7.0, 0) : 0.0F;
      EXPECT_EQ(mine.reference.to_host<float>(mine.cx), (std::vector<float>{want, want}));
      EXPECT_EQ(mine.age, now == 3 ? 9 : 0);
    });
    load(folder, now, [&](Residuals&, Coordinator&, const auto& load_it) {
      if (now == 3) {
        EXPECT_THROW(load_it(), Error);
      } else {
        EXPECT_NO_THROW(load_it());
      }
    });
  }
  const TempFolder without;
  save(without, 3);
  load(without, 2, [](Residuals& mine, Coordinator&, const auto& load_it) {
    mine.with_reference = true;
    EXPECT_NO_THROW(load_it());
  });
}

TEST(CheckpointResize, WholeNumbersHaveNoMean) {
  const TempFolder folder;
  const auto with_count = [](Residuals& r) { r.with_count = true; };
  save(folder, 3, with_count);
  for (const int now : {2, 3}) {
    load(folder, now, [&](Residuals& mine, Coordinator&, const auto& load_it) {
      with_count(mine);
      if (now == 3) {
        EXPECT_NO_THROW(load_it());
      } else {
        EXPECT_THROW(load_it(), Error);
      }
    });
  }
}

}  // namespace
}  // namespace gradwire
