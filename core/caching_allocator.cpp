#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/memory.h"

namespace gradwire {
namespace {

// Size classes: eight per power of two, so that at most an eighth of a block is wasted.
std::size_t size_class(std::size_t bytes) {
  constexpr std::size_t kSmallest = 512;
  if (bytes <= kSmallest) return kSmallest;
  const std::size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class CachingAllocator final : public Allocator {
 public:
  CachingAllocator(std::unique_ptr<Allocator> upstream, CachingOptions options)
      : upstream_(std::move(upstream)), options_(options) {}

  ~CachingAllocator() override {
    for (const Pending& p : pending_) {
      release_events(p);
      give_back(p.data, p.bytes);
    }
    for (const Pending& p : lost_) {
      release_events(p);
      give_back(p.data, p.bytes);
    }
    release_cached();
  }

  Block allocate(std::size_t bytes, Segment segment, Stream on) override {
    if (bytes == 0) return {nullptr, 0, segment};
    const std::size_t rounded = size_class(bytes);
    const std::scoped_lock lock(mutex_);
    collect_finished();
    void* data = take_cached(rounded, on);
    if (data == nullptr) data = take_new(rounded, segment, on);
    charge(segment, rounded);
    return {data, bytes, segment};
  }

  void deallocate(Block block, Stream home, std::span<const Stream> users) noexcept override {
    if (block.data == nullptr) return;
    const std::size_t rounded = size_class(block.bytes);
    const std::scoped_lock lock(mutex_);
    stats_.live_bytes -= rounded;
    stats_.segments[static_cast<std::size_t>(block.segment)].live_bytes -= rounded;
    if (options_.poison_freed && home.device.type == DeviceType::kCpu) {
      std::memset(block.data, 0xFF, block.bytes);
    }
    Pending pending{block.data, rounded, home, {}};
    if (!record_events(pending, users)) {
      lost_.push_back(std::move(pending));
    } else if (pending.events.empty()) {
      free_[{home.handle, rounded}].push_back(block.data);
    } else {
      pending_.push_back(std::move(pending));
    }
  }

  Device device() const override { return upstream_->device(); }

  MemoryStats stats() const override {
    const std::scoped_lock lock(mutex_);
    return stats_;
  }

  void reset_peaks() override {
    const std::scoped_lock lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
    for (SegmentUse& s : stats_.segments)
      s.peak_bytes = s.live_bytes;
  }

 private:
  // Freed by its owner, but other streams still have work on it.
  struct Pending {
    void* data;
    std::size_t bytes;
    Stream home;
    std::vector<void*> events;
  };
  using Key = std::pair<void*, std::size_t>;  // stream handle, size class

  void charge(Segment segment, std::size_t bytes) {
    SegmentUse& use = stats_.segments[static_cast<std::size_t>(segment)];
    use.live_bytes += bytes;
    use.peak_bytes = std::max(use.peak_bytes, use.live_bytes);
    stats_.live_bytes += bytes;
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  }

  void* take_cached(std::size_t bytes, Stream on) {
    const auto found = free_.find({on.handle, bytes});
    if (found == free_.end() || found->second.empty()) return nullptr;
    void* data = found->second.back();
    found->second.pop_back();
    return data;
  }

  void* take_new(std::size_t bytes, Segment segment, Stream on) {
    ++stats_.system_allocations;
    void* data = nullptr;
    try {
      data = upstream_->allocate(bytes, segment, on).data;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kMemory || stats_.reserved_bytes == stats_.live_bytes) throw;
      for (const Pending& p : pending_)
        wait_for_events(p);
      collect_finished();
      release_cached();  // fragments of other sizes may make room
      data = upstream_->allocate(bytes, segment, on).data;
    }
    stats_.reserved_bytes += bytes;
    return data;
  }

  void collect_finished() {
    std::erase_if(pending_, [this](const Pending& p) {
      if (!events_done(p)) return false;
      release_events(p);
      free_[{p.home.handle, p.bytes}].push_back(p.data);
      return true;
    });
  }

  void release_cached() {
    for (auto& [key, blocks] : free_) {
      for (void* data : blocks)
        give_back(data, key.second);
      blocks.clear();
    }
  }

  void give_back(void* data, std::size_t bytes) {
    stats_.reserved_bytes -= bytes;
    upstream_->deallocate({data, bytes, Segment::kOther}, {upstream_->device(), nullptr}, {});
  }

  // Marks where the users of a block stand. False if CUDA refuses, as it does after an error that
  // has spoiled the device: then nobody knows when the block is free.
  static bool record_events(Pending& p, [[maybe_unused]] std::span<const Stream> users) noexcept {
    if constexpr (kCudaBuilt) {
      try {
        for (const Stream& s : users)
          p.events.push_back(cuda_event(s));
      } catch (const Error&) {
        return false;
      }
    }
    return true;
  }
  static void* cuda_event([[maybe_unused]] Stream s) {
    return on_device(
        s.device, [](Device) -> void* { return nullptr; },
        [&](auto) { return cuda::record_event(s); });
  }
  // Pinned host memory, too, may be in use by streams of a GPU.
  static void wait_for_events([[maybe_unused]] const Pending& p) {
    if constexpr (kCudaBuilt) {
      for (void* e : p.events)
        cuda::wait_for_event(e);
    }
  }
  static bool events_done([[maybe_unused]] const Pending& p) {
    if constexpr (kCudaBuilt) return std::ranges::all_of(p.events, &cuda::event_done);
    return true;
  }
  static void release_events([[maybe_unused]] const Pending& p) {
    if constexpr (kCudaBuilt) {
      for (void* e : p.events)
        cuda::release_event(e);
    }
  }

  std::unique_ptr<Allocator> upstream_;
  CachingOptions options_;
  mutable std::mutex mutex_;
  std::map<Key, std::vector<void*>> free_;
  std::vector<Pending> pending_;
  std::vector<Pending> lost_;  // freed, but not to be handed out again: see record_events()
  MemoryStats stats_;
};

}  // namespace

std::unique_ptr<Allocator> make_caching_allocator(std::unique_ptr<Allocator> upstream,
                                                  CachingOptions options) {
  return std::make_unique<CachingAllocator>(std::move(upstream), options);
}

}  // namespace gradwire
