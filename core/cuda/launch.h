// How kernels are launched: on a stream's device, checked, with grids that depend on sizes alone
// (never on the GPU), so that a result does not change from one GPU to another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <source_location>

#include <cuda_runtime.h>

#include "core/cuda/check.h"

namespace gradwire::cuda {

inline constexpr int kBlock = 256;  // threads of every block
inline constexpr int kWarp = 32;
inline constexpr std::int64_t kMaxBlocks = 4096;  // loops in the kernels cover what is left

// Blocks for `work` threads, or for `work` rows of a block each if per_block is 1.
inline unsigned blocks_for(std::int64_t work, std::int64_t per_block = kBlock) {
  return static_cast<unsigned>(
      std::clamp<std::int64_t>((work + per_block - 1) / per_block, 1, kMaxBlocks));
}

// Blocks of `threads` threads with `shared_bytes` of dynamic shared memory each.
struct Grid {
  unsigned blocks;
  unsigned threads;
  std::size_t shared_bytes;
};

// Queues kernel(args...). Throws Error(kDevice) if the device has less shared memory in a block.
template <class... Parameters, class... Arguments>
void launch(Stream s, const Grid& grid, void (*kernel)(Parameters...), Arguments... args) {
  constexpr std::size_t kAlwaysAllowed = std::size_t{48} * 1024;
  use_device(s.device);
  if (grid.shared_bytes > kAlwaysAllowed) {
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)),
               "allow a kernel its shared memory");
  }
  kernel<<<grid.blocks, grid.threads, grid.shared_bytes, handle_of(s)>>>(args...);
  cuda_check(cudaGetLastError(), "launch a kernel");
}

// Queues kernel(args...) as `blocks` blocks of kBlock threads.
template <class... Parameters, class... Arguments>
void launch(Stream s, unsigned blocks, void (*kernel)(Parameters...), Arguments... args) {
  use_device(s.device);
  kernel<<<blocks, kBlock, 0, handle_of(s)>>>(args...);
  cuda_check(cudaGetLastError(), "launch a kernel");
}

}  // namespace gradwire::cuda
