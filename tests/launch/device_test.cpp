#include "launch/start/device.h"

#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/context.h"
#include "tests/support/expect_error.h"
#include "tests/support/recipes.h"

namespace gradwire {
namespace {

using test::expect_error;

constexpr Device kCpu{};

Device gpu(int index) {
  return {DeviceType::kCuda, static_cast<std::int8_t>(index)};
}
RankEnvironment rank_of_host(int local_rank, int local_size) {
  RankEnvironment env;
  env.local_rank = local_rank;
  env.local_size = local_size;
  return env;
}
Recipe asking_for(const std::string& device) {
  Recipe r = lm_recipe();
  r.run.device = device;
  return r;
}

TEST(DeviceOfRank, AutoTakesAGpuIfThereIsOne) {
  EXPECT_EQ(device_of_rank(lm_recipe(), {}, 0), kCpu);
  EXPECT_EQ(device_of_rank(lm_recipe(), {}, 1), gpu(0));
}

TEST(DeviceOfRank, CpuIsCpu) {
  EXPECT_EQ(device_of_rank(asking_for("cpu"), {}, 4), kCpu);
}

TEST(DeviceOfRank, CudaWithoutAGpuIsAnError) {
  EXPECT_EQ(device_of_rank(asking_for("cuda"), {}, 2), gpu(0));
  expect_error(ErrorKind::kConfig,
               "run.device = \"cuda\": ", [] { device_of_rank(asking_for("cuda"), {}, 0); });
}

TEST(DeviceOfRank, RanksOfAHostTakeTurns) {
  for (int local_rank = 0; local_rank < 6; ++local_rank)
    EXPECT_EQ(device_of_rank(asking_for("cuda"), rank_of_host(local_rank, 6), 4),
              gpu(local_rank % 4));
}

// As srun --gpus-per-task does it.
TEST(DeviceOfRank, ALauncherMayShowEachRankItsOwn) {
  EXPECT_EQ(device_of_rank(lm_recipe(), rank_of_host(3, 4), 1), gpu(0));
}

TEST(DeviceOfRank, AutoTakesTheCpuForWhatRunsThereOnly) {
  Recipe r = lm_recipe();
  r.parallel.pipeline = 2;
  r.parallel.boundary = "int8";
  EXPECT_EQ(device_of_rank(r, {}, 1), kCpu);
  EXPECT_STREQ(gpu_objection(r)->key, "parallel.boundary");
  r.parallel.boundary = "bf16";
  EXPECT_EQ(device_of_rank(r, {}, 1), gpu(0));

  r.optim.name = "onebit_adam";
  EXPECT_FALSE(gpu_objection(r));
  r.parallel.shard_optimizer = true;
  EXPECT_STREQ(gpu_objection(r)->key, "parallel.shard_optimizer");
  r.optim.name = "adamw";
  EXPECT_FALSE(gpu_objection(r));
}

TEST(DeviceOfRank, HowManyShareOne) {
  EXPECT_EQ(ranks_on_device(rank_of_host(0, 4), kCpu, 0), 4);
  EXPECT_EQ(ranks_on_device(rank_of_host(0, 4), gpu(0), 1), 4);
  EXPECT_EQ(ranks_on_device(rank_of_host(0, 4), gpu(0), 4), 1);
  EXPECT_EQ(ranks_on_device(rank_of_host(0, 4), gpu(0), 8), 1);
  EXPECT_EQ(ranks_on_device(rank_of_host(0, 5), gpu(0), 2), 3);
}

// What each of three ranks takes if these have a GPU.
std::vector<DeviceChoice> agreed(const std::vector<bool>& has_gpu) {
  std::vector<DeviceChoice> choices(has_gpu.size());
  run_ranks(static_cast<int>(has_gpu.size()), [&](Communicator& comm) {
    Runtime runtime;
    const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
    const auto rank = static_cast<std::size_t>(comm.rank());
    choices[rank] = agree_on_device(has_gpu[rank] ? gpu(comm.rank()) : kCpu, *ranks);
  });
  return choices;
}

TEST(AgreedDevice, EachItsOwnGpuIfAllHaveOne) {
  const std::vector<DeviceChoice> all = agreed({true, true, true});
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(all[static_cast<std::size_t>(r)].device, gpu(r));
    EXPECT_EQ(all[static_cast<std::size_t>(r)].note, "");
  }
}

TEST(AgreedDevice, TheCpuIfOneHasNone) {
  for (const DeviceChoice& c : agreed({true, false, true})) {
    EXPECT_EQ(c.device, kCpu);
    EXPECT_EQ(c.note, "all ranks use the CPU, since rank 1 has no GPU");
  }
  EXPECT_EQ(agreed({false, true, false})[1].note,
            "all ranks use the CPU, since ranks 0, 2 have no GPU");
}

TEST(AgreedDevice, NothingToSayIfNobodyHasOne) {
  for (const DeviceChoice& c : agreed({false, false})) {
    EXPECT_EQ(c.device, kCpu);
    EXPECT_EQ(c.note, "");
  }
}

}  // namespace
}  // namespace gradwire
