#include "core/cuda/device_cuda.h"

#include <cstdlib>

#include <cuda_runtime_api.h>

#include <fmt/format.h>

#include "core/cuda/check.h"
#include "core/error.h"

namespace gradwire::cuda {
namespace {

cudaEvent_t event_of(void* event) {
  return static_cast<cudaEvent_t>(event);
}

// For calls whose failure has another meaning, or that must not throw.
bool succeeded(cudaError_t code) {
  if (code == cudaSuccess) return true;
  static_cast<void>(cudaGetLastError());
  return false;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

bool is_pinned(const void* host) {
  cudaPointerAttributes attributes{};
  return succeeded(cudaPointerGetAttributes(&attributes, host)) &&
         attributes.type == cudaMemoryTypeHost;
}

std::string driver_text() {
  int driver = 0, runtime = 0;
  const bool known =
      succeeded(cudaDriverGetVersion(&driver)) && succeeded(cudaRuntimeGetVersion(&runtime));
  if (!known || driver == 0) return "no CUDA driver is loaded";
  return fmt::format("the driver supports CUDA {}, the runtime is {}", version_text(driver),
                     version_text(runtime));
}

}  // namespace

void throw_error(cudaError_t code, const char* what, std::source_location at) {
  static_cast<void>(cudaGetLastError());
  const ErrorKind kind =
      code == cudaErrorMemoryAllocation ? ErrorKind::kMemory : ErrorKind::kDevice;
  throw Error(
      kind, fmt::format("{}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code)), at);
}

void use_device(Device d, std::source_location at) {
  const cudaError_t code = cudaSetDevice(d.index);
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const int found = device_count();
  throw Error(ErrorKind::kDevice,
              fmt::format("cuda:{}: {} ({}); {} usable GPUs; {}", d.index, cudaGetErrorString(code),
                          cudaGetErrorName(code), found, driver_text()),
              at);
}

int device_count() {
  int count = 0;
  return succeeded(cudaGetDeviceCount(&count)) ? count : 0;
}

std::string describe(Device d) {
  use_device(d);
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, d.index), "describe a GPU");
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  return fmt::format("{}, {:.1f} GiB, compute capability {}.{}", properties.name,
                     static_cast<double>(properties.totalGlobalMem) / kGiB, properties.major,
                     properties.minor);
}

std::size_t free_bytes(Device d) {
  use_device(d);
  std::size_t free = 0, total = 0;
  cuda_check(cudaMemGetInfo(&free, &total), "ask a GPU for its memory");
  return free;
}

Stream create_stream(Device d) {
  use_device(d);
  cudaStream_t handle = nullptr;
  cuda_check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "create a stream");
  return {d, handle};
}

void destroy_stream(Stream s) noexcept {
  if (s.handle != nullptr) succeeded(cudaStreamDestroy(handle_of(s)));
}

void synchronize(Stream s) {
  use_device(s.device);
  cuda_check(cudaStreamSynchronize(handle_of(s)), "wait for a stream");
}

void* allocate(Device d, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  use_device(d);
  void* data = nullptr;
  const cudaError_t code = cudaMalloc(&data, bytes);
  if (code == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw Error(ErrorKind::kMemory,
                fmt::format("cuda:{}: out of memory: asked for {} bytes", d.index, bytes));
  }
  cuda_check(code, "allocate device memory");
  return data;
}

void release(Device, void* data) noexcept {
  if (data != nullptr) succeeded(cudaFree(data));
}

void* allocate_pinned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* data = nullptr;
  if (succeeded(cudaHostAlloc(&data, bytes, cudaHostAllocPortable))) return data;
  constexpr std::size_t kAlignment = 64;
  data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (data == nullptr) {
    throw Error(ErrorKind::kMemory, fmt::format("host: out of memory: asked for {} bytes", bytes));
  }
  return data;
}

void release_pinned(void* data) noexcept {
  if (data == nullptr) return;
  if (is_pinned(data)) {
    succeeded(cudaFreeHost(data));
  } else {
    std::free(data);
  }
}

void* record_event(Stream s) {
  use_device(s.device);
  cudaEvent_t event = nullptr;
  cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create an event");
  const cudaError_t code = cudaEventRecord(event, handle_of(s));
  if (code != cudaSuccess) release_event(event);
  cuda_check(code, "record an event");
  return event;
}

bool event_done(void* event) {
  const cudaError_t code = cudaEventQuery(event_of(event));
  if (code == cudaErrorNotReady) return succeeded(code);
  cuda_check(code, "ask for an event");
  return true;
}

void wait_for_event(void* event) {
  cuda_check(cudaEventSynchronize(event_of(event)), "wait for an event");
}

void release_event(void* event) noexcept {
  if (event != nullptr) succeeded(cudaEventDestroy(event_of(event)));
}

void copy_to_device(Stream s, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(s.device);
  cuda_check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, handle_of(s)),
             "copy to the device");
  // CUDA promises to have read pageable memory only once the stream has passed the copy.
  if (!is_pinned(src)) synchronize(s);
}

void copy_to_host(Stream s, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(s.device);
  cuda_check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, handle_of(s)),
             "copy to the host");
  synchronize(s);
}

void copy_on_device(Stream s, void* dst, const void* src, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(s.device);
  cuda_check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, handle_of(s)),
             "copy on the device");
}

void set_bytes(Stream s, void* dst, int value, std::size_t bytes) {
  if (bytes == 0) return;
  use_device(s.device);
  cuda_check(cudaMemsetAsync(dst, value, bytes, handle_of(s)), "set device memory");
}

}  // namespace gradwire::cuda
