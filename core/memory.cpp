#include "core/memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include <fmt/format.h>
#include <sys/mman.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

void* host_allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded);
  // Huge pages make first touch four times as fast; a kernel without them loses nothing.
  if (data != nullptr && bytes >= kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
  return data;
}

class SystemAllocator final : public Allocator {
 public:
  explicit SystemAllocator(Device device) : device_(device) {}

  Block allocate(std::size_t bytes, Segment segment, Stream) override {
    if (bytes == 0) return {nullptr, 0, segment};
    void* data = on_device(
        device_, [&](Device) { return host_allocate(bytes); },
        [&](auto d) { return cuda::allocate(d, bytes); });
    if (data == nullptr) {
      throw Error(ErrorKind::kMemory, fmt::format("out of memory: asked for {} bytes", bytes));
    }
    return {data, bytes, segment};
  }
  void deallocate(Block block, Stream, std::span<const Stream>) noexcept override {
    on_device(
        device_, [&](Device) { std::free(block.data); },
        [&](auto d) { cuda::release(d, block.data); });
  }
  Device device() const override { return device_; }
  MemoryStats stats() const override { return {}; }
  void reset_peaks() override {}

 private:
  Device device_;
};

// Blocks of the host, made by the CUDA runtime so that the GPU can reach them.
class PinnedAllocator final : public Allocator {
 public:
  Block allocate(std::size_t bytes, Segment segment, Stream) override {
    if constexpr (kCudaBuilt) return {cuda::allocate_pinned(bytes), bytes, segment};
    throw Error(ErrorKind::kDevice, "built without CUDA");
  }
  void deallocate(Block block, Stream, std::span<const Stream>) noexcept override {
    if constexpr (kCudaBuilt) cuda::release_pinned(block.data);
  }
  Device device() const override { return {}; }
  MemoryStats stats() const override { return {}; }
  void reset_peaks() override {}
};

}  // namespace

const char* name_of(Segment s) {
  switch (s) {
    case Segment::kOther: return "other";
    case Segment::kParams: return "params";
    case Segment::kGrads: return "grads";
    case Segment::kOptim: return "optim";
    case Segment::kActivations: return "activations";
    case Segment::kScratch: return "scratch";
    case Segment::kComm: return "comm";
    case Segment::kData: return "data";
    case Segment::kCount: break;
  }
  return "?";
}

std::unique_ptr<Allocator> make_system_allocator(Device device) {
  return std::make_unique<SystemAllocator>(device);
}

std::unique_ptr<Allocator> make_pinned_allocator() {
  if constexpr (kCudaBuilt) return std::make_unique<PinnedAllocator>();
  return make_system_allocator({});
}

Storage::Storage(Allocator& alloc, std::size_t bytes, Segment segment, Stream home)
    : alloc_(alloc), block_(alloc.allocate(bytes, segment, home)), home_(home) {}

Storage::~Storage() {
  if (block_.data != nullptr) alloc_.deallocate(block_, home_, users_);
}

void Storage::record_use(Stream by) {
  if (by == home_ || by.device.type == DeviceType::kCpu) return;
  if (std::find(users_.begin(), users_.end(), by) == users_.end()) users_.push_back(by);
}

}  // namespace gradwire
