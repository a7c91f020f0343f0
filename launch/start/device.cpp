#include "launch/start/device.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "comm/rank_list.h"
#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/host_limits.h"

namespace gradwire {

std::optional<GpuObjection> gpu_objection(const Recipe& recipe) {
  const ParallelRecipe& p = recipe.parallel;
  if (p.pipeline > 1 && p.boundary == "int8") {
    return GpuObjection{
        "parallel.boundary",
        "differences in int8 between stages are made on the CPU only: use same or bf16"};
  }
  if (p.shard_optimizer && recipe.optim.is_onebit()) {
    return GpuObjection{"parallel.shard_optimizer",
                        "a 1-bit optimizer with sharded state runs on the CPU only"};
  }
  return std::nullopt;
}

int gpu_count() {
  if constexpr (kCudaBuilt) return cuda::device_count();
  return 0;
}

Device device_of_rank(const Recipe& recipe, const RankEnvironment& env, int gpus) {
  const std::string& asked = recipe.run.device;
  if (asked == "cpu") return {};
  const bool can = gpus > 0 && !gpu_objection(recipe);
  if (can) return {DeviceType::kCuda, static_cast<std::int8_t>(env.local_rank % gpus)};
  if (asked == "auto") return {};
  throw Error(
      ErrorKind::kConfig,
      fmt::format("run.device = \"cuda\": {}",
                  kCudaBuilt ? "no GPU can be used here (`gradwire doctor` shows those that "
                               "are found)"
                             : "this program was built without CUDA"));
}

int ranks_on_device(const RankEnvironment& env, Device device, int gpus) {
  if (device.type == DeviceType::kCpu) return env.local_size;
  const int shared = std::min(gpus, env.local_size);
  return (env.local_size + shared - 1) / shared;
}

DeviceRoom room_of_rank(const Recipe& recipe, const RankEnvironment& env) {
  const int gpus = gpu_count();
  const Device device = device_of_rank(recipe, env, gpus);
  return on_device(
      device,
      [&](Device) {
        return DeviceRoom{env.local_size, available_memory_bytes()};
      },
      [&](auto d) {
        return DeviceRoom{ranks_on_device(env, d, gpus),
                          static_cast<std::int64_t>(cuda::free_bytes(d)),
                          fmt::format("on cuda:{}", d.index)};
      });
}

std::string describe(Device device) {
  return on_device(
      device, [](Device) { return std::string("cpu"); },
      [](auto d) { return fmt::format("cuda:{} ({})", d.index, cuda::describe(d)); });
}

DeviceChoice agree_on_device(Device mine, Coordinator& ranks) {
  const bool has = mine.type == DeviceType::kCuda;
  const std::vector<std::string> all = ranks.all_gather(has ? "gpu" : "");
  if (std::ranges::none_of(all, &std::string::empty)) return {mine};
  std::vector<std::size_t> without;
  for (std::size_t r = 0; r < all.size(); ++r)
    if (all[r].empty()) without.push_back(r);
  if (without.size() == all.size()) return {};
  return {{},
          fmt::format("all ranks use the CPU, since {} no GPU",
                      ranks_text(without) + (without.size() == 1 ? " has" : " have"))};
}

}  // namespace gradwire
