// Stream-ordered memory: a system allocator per device below a caching one, and Storage, the one
// owner of a block. Blocks are charged to named segments, so that a memory report says what the
// memory is for. All allocators are safe to use from several threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/device.h"

namespace gradwire {

enum class Segment : std::uint8_t {
  kOther,
  kParams,
  kGrads,
  kOptim,
  kActivations,
  kScratch,
  kComm,
  kData,
  kCount,
};
const char* name_of(Segment s);

struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;  // as asked for
  Segment segment = Segment::kOther;
};

struct SegmentUse {
  std::size_t live_bytes = 0;
  std::size_t peak_bytes = 0;
};

struct MemoryStats {
  std::array<SegmentUse, static_cast<std::size_t>(Segment::kCount)> segments;
  std::size_t live_bytes = 0;           // handed out
  std::size_t peak_bytes = 0;           // high-water mark of live_bytes
  std::size_t reserved_bytes = 0;       // taken from the system, in use or cached
  std::int64_t system_allocations = 0;  // calls that went to the system: constant in steady state
  const SegmentUse& of(Segment s) const { return segments[static_cast<std::size_t>(s)]; }
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  // At least 64-byte aligned; throws Error(kMemory) when the device has no more. Zero bytes give a
  // null block.
  virtual Block allocate(std::size_t bytes, Segment segment, Stream on) = 0;
  // `users` are streams other than `home` with work on the block still queued (record_use).
  virtual void deallocate(Block block, Stream home, std::span<const Stream> users) noexcept = 0;
  virtual Device device() const = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peaks() = 0;
};

struct CachingOptions {
  bool poison_freed = false;  // tests: freed CPU memory becomes NaN
};

// malloc and free (2 MiB-aligned with huge pages asked for, if large) or cudaMalloc and
// cudaFree.
std::unique_ptr<Allocator> make_system_allocator(Device device);
// Host memory that a GPU reads and writes directly ("pinned"); ordinary memory without a GPU.
std::unique_ptr<Allocator> make_pinned_allocator();
// Keeps freed blocks on free lists by size class and stream, over `upstream`, which it owns.
std::unique_ptr<Allocator> make_caching_allocator(std::unique_ptr<Allocator> upstream,
                                                  CachingOptions options = {});

// Owns one block and remembers every stream that used it.
class Storage {
 public:
  Storage(Allocator& alloc, std::size_t bytes, Segment segment, Stream home);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const noexcept { return block_.data; }
  std::size_t bytes() const noexcept { return block_.bytes; }
  Device device() const noexcept { return home_.device; }
  // Called before work is queued on a stream other than the home one: the block is not handed out
  // again before that work is done. A no-op on the CPU.
  void record_use(Stream by);

 private:
  Allocator& alloc_;
  Block block_;
  Stream home_;
  std::vector<Stream> users_;
};

}  // namespace gradwire
