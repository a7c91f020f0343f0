// Stands in for the CUDA runtime and cuBLASLt, loaded before them (LD_PRELOAD), where there is no
// GPU: device memory is memory that the host may not touch, so that a program that does ends at
// once; copies and settings of bytes are real and check their pointers; kernels and products do
// nothing. What it shows is which memory the host half of a program uses, and nothing about
// results. STUB_GPUS is the number of GPUs (1). A function of CUDA that is missing here is the real
// one's, which fails without a GPU: add it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr std::size_t kMemory = std::size_t{1} << 34;

struct Block {
  std::size_t bytes;
  char* alias;  // the same memory, where it can be touched
};
std::mutex mutex;
std::map<char*, Block> blocks;
std::set<const void*> pinned;

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "stub of CUDA: %s\n", what);
  std::abort();
}

// Where the bytes can be touched, or null if they are no device memory.
char* device_bytes(const void* p, std::size_t bytes) {
  char* const at = static_cast<char*>(const_cast<void*>(p));
  const std::scoped_lock lock(mutex);
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin()) return nullptr;
  const auto& [begin, block] = *--next;
  const auto offset = static_cast<std::size_t>(at - begin);
  if (offset >= block.bytes) return nullptr;
  require(offset + bytes <= block.bytes, "beyond the end of a block of device memory");
  return block.alias + offset;
}

char* bytes_of(const void* p, std::size_t bytes, bool on_device) {
  char* const device = device_bytes(p, bytes);
  require((device != nullptr) == on_device, "a pointer to the other kind of memory");
  return on_device ? device : static_cast<char*>(const_cast<void*>(p));
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  const char* const gpus = std::getenv("STUB_GPUS");
  *count = gpus == nullptr ? 1 : std::atoi(gpus);
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "stub");
  properties->totalGlobalMem = kMemory;
  properties->major = 9;
  properties->multiProcessorCount = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 9;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = kMemory;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaPeekAtLastError() {
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  const int file = memfd_create("stub of CUDA", 0);
  require(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0, "no memory");
  void* const untouchable = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, file, 0);
  void* const alias = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  require(untouchable != MAP_FAILED && alias != MAP_FAILED, "no memory");
  close(file);
  const std::scoped_lock lock(mutex);
  blocks[static_cast<char*>(untouchable)] = {bytes, static_cast<char*>(alias)};
  *data = untouchable;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  const std::scoped_lock lock(mutex);
  const auto found = blocks.find(static_cast<char*>(data));
  require(found != blocks.end(), "freed: no block of device memory");
  munmap(found->second.alias, found->second.bytes);
  munmap(data, found->second.bytes);
  blocks.erase(found);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  constexpr std::size_t kAlignment = 64;
  *data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(*data, 0xFF, bytes);  // NaN, for whoever reads before he writes
  const std::scoped_lock lock(mutex);
  pinned.insert(*data);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  const std::scoped_lock lock(mutex);
  require(pinned.erase(data) == 1, "freed: no pinned memory");
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* data) {
  *attributes = {};
  const std::scoped_lock lock(mutex);
  attributes->type = pinned.contains(data) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  std::memmove(bytes_of(to, bytes, kind != cudaMemcpyDeviceToHost),
               bytes_of(from, bytes, kind != cudaMemcpyHostToDevice), bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  for (std::size_t row = 0; row < height; ++row) {
    cudaMemcpyAsync(static_cast<char*>(to) + row * to_pitch,
                    static_cast<const char*>(from) + row * from_pitch, width, kind, stream);
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(bytes_of(to, bytes, true), value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width,
                              std::size_t height, cudaStream_t stream) {
  for (std::size_t row = 0; row < height; ++row)
    cudaMemsetAsync(static_cast<char*>(to) + row * pitch, value, width, stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = static_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = static_cast<cudaEvent_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t stream) {
  require(stream != nullptr, "an event on no stream of ours");
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}

// What the compiler makes of a launch.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void*) {
  *kernel = nullptr;
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, std::size_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->ptxVersion = attributes->binaryVersion = 90;
  attributes->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks_at_once, const void*,
                                                                   int, std::size_t, unsigned) {
  *blocks_at_once = 1;
  return cudaSuccess;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = static_cast<cublasLtHandle_t>(std::malloc(1));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  std::free(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t,
                                        cudaDataType_t) {
  *desc = static_cast<cublasLtMatmulDesc_t>(std::malloc(1));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  std::free(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
                                              const void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = static_cast<cublasLtMatmulPreference_t>(std::malloc(1));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  std::free(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType, uint64_t,
                                          uint64_t, int64_t) {
  *layout = static_cast<cublasLtMatrixLayout_t>(std::malloc(1));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  std::free(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t,
                                                cublasLtMatrixLayoutAttribute_t, const void*,
                                                std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int asked,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  std::fill_n(results, asked, cublasLtMatmulHeuristicResult_t{});
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void*,
                              cublasLtMatrixLayout_t, const void*, cublasLtMatrixLayout_t,
                              const void*, const void*, cublasLtMatrixLayout_t, void*,
                              cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t*, void*,
                              std::size_t, cudaStream_t) {
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
