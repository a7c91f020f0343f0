// Which device this rank computes on (run.device of the recipe): a GPU of its host or the CPU.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/device.h"
#include "launch/start/environment.h"
#include "train/coordinator.h"

#include "recipe/recipe.h"

namespace gradwire {

// What of a recipe does not run on a GPU: the key that asks for it and a sentence.
struct GpuObjection {
  const char* key;
  std::string text;
};
// The first of a recipe; nothing if all of it runs on a GPU.
std::optional<GpuObjection> gpu_objection(const Recipe& recipe);

// GPUs that this process can use; 0 if it was built without CUDA.
int gpu_count();

// What this rank would take by itself, if it sees `gpus` GPUs: the GPU with the number of the rank
// among those of its host. If there are more ranks than GPUs, several share one; if the launcher
// shows each rank a GPU of its own, that is the one. Errors: kConfig if the recipe insists on a GPU
// and there is none.
Device device_of_rank(const Recipe& recipe, const RankEnvironment& env, int gpus);

// Memory in which ranks compute: a GPU's, or the host's.
struct DeviceRoom {
  int ranks = 1;           // of this host that share it
  std::int64_t bytes = 0;  // that they may use together
  std::string where = "on this host";
};
// Of the device that this rank takes by itself. Errors: as device_of_rank().
DeviceRoom room_of_rank(const Recipe& recipe, const RankEnvironment& env);
int ranks_on_device(const RankEnvironment& env, Device device, int gpus);

// "cpu", "cuda:0 (NVIDIA H100 80GB HBM3, 79.1 GiB, compute capability 9.0)"
std::string describe(Device device);

// What all ranks compute on: GPUs if every rank has one, else the CPU, since the results of
// replicas on both would differ in their last bits.
struct DeviceChoice {
  Device device;
  std::string note{};  // for the log, if ranks with a GPU do without it
};
// Collective.
DeviceChoice agree_on_device(Device mine, Coordinator& ranks);

}  // namespace gradwire
