// CUDA status codes as exceptions, and the device and stream that a call runs on. For files that
// need CUDA headers: *.cu and *_cuda.cpp only.
#pragma once

#include <source_location>

#include <cuda_runtime_api.h>

#include "core/device.h"

namespace gradwire::cuda {

// Error(kMemory) if the device has no more memory, else Error(kDevice). Clears the error that
// CUDA keeps per thread, so that the next check does not see it again.
[[noreturn]] void throw_error(cudaError_t code, const char* what, std::source_location at);

inline void cuda_check(cudaError_t code, const char* what,
                       std::source_location at = std::source_location::current()) {
  if (code != cudaSuccess) throw_error(code, what, at);
}

inline cudaStream_t handle_of(Stream s) {
  return static_cast<cudaStream_t>(s.handle);
}

// CUDA's current device belongs to the thread: every call that creates, launches or copies selects
// its own first. Throws Error(kDevice), saying whether the driver or the device is missing.
void use_device(Device d, std::source_location at = std::source_location::current());

}  // namespace gradwire::cuda
