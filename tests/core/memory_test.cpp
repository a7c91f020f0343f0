#include "core/memory.h"

#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor.h"

namespace gradwire {
namespace {

std::unique_ptr<Allocator> caching(CachingOptions options = {}) {
  return make_caching_allocator(make_system_allocator({}), options);
}

TEST(SystemAllocator, AlignsAndRefusesTheImpossible) {
  const auto alloc = make_system_allocator({});
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{3} << 20}) {
    const Block b = alloc->allocate(bytes, Segment::kOther, {});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data) % 64, 0U);
    EXPECT_EQ(b.bytes, bytes);
    alloc->deallocate(b, {}, {});
  }
  EXPECT_EQ(alloc->allocate(0, Segment::kOther, {}).data, nullptr);
  try {
    alloc->allocate(std::size_t{1} << 60, Segment::kOther, {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
  }
}

TEST(CachingAllocator, GivesTheSameBlockAgain) {
  const auto alloc = caching();
  const Block first = alloc->allocate(1000, Segment::kOther, {});
  alloc->deallocate(first, {}, {});
  const Block second = alloc->allocate(1020, Segment::kOther, {});  // same size class
  EXPECT_EQ(second.data, first.data);
  EXPECT_EQ(alloc->stats().system_allocations, 1);
  alloc->deallocate(second, {}, {});
}

TEST(CachingAllocator, KeepsStreamsApart) {
  const auto alloc = caching();
  int home = 0;
  const Stream other{{}, &home};
  const Block first = alloc->allocate(1000, Segment::kOther, {});
  alloc->deallocate(first, {}, {});
  const Block second = alloc->allocate(1000, Segment::kOther, other);
  EXPECT_NE(second.data, first.data);
  alloc->deallocate(second, other, {});
}

TEST(CachingAllocator, WastesAnEighthAtMost) {
  const auto alloc = caching();
  for (std::size_t bytes = 513; bytes < 100000; bytes += 977) {
    const Block b = alloc->allocate(bytes, Segment::kOther, {});
    const std::size_t live = alloc->stats().live_bytes;
    EXPECT_GE(live, bytes);
    EXPECT_LE(live, bytes + bytes / 8 + 64);
    alloc->deallocate(b, {}, {});
  }
}

TEST(CachingAllocator, ChargesSegmentsAndRemembersPeaks) {
  const auto alloc = caching();
  const Block p = alloc->allocate(4096, Segment::kParams, {});
  const Block a = alloc->allocate(8192, Segment::kActivations, {});
  alloc->deallocate(a, {}, {});
  MemoryStats s = alloc->stats();
  EXPECT_EQ(s.of(Segment::kParams).live_bytes, 4096U);
  EXPECT_EQ(s.of(Segment::kActivations).live_bytes, 0U);
  EXPECT_EQ(s.of(Segment::kActivations).peak_bytes, 8192U);
  EXPECT_EQ(s.live_bytes, 4096U);
  EXPECT_EQ(s.peak_bytes, 12288U);
  EXPECT_EQ(s.reserved_bytes, 12288U);
  alloc->reset_peaks();
  EXPECT_EQ(alloc->stats().peak_bytes, 4096U);
  EXPECT_EQ(alloc->stats().of(Segment::kActivations).peak_bytes, 0U);
  alloc->deallocate(p, {}, {});
  for (int i = 0; i < static_cast<int>(Segment::kCount); ++i) {
    EXPECT_STRNE(name_of(static_cast<Segment>(i)), "?");
  }
}

TEST(CachingAllocator, PoisonsWhatIsFreed) {
  const auto alloc = caching({.poison_freed = true});
  const Block b = alloc->allocate(64, Segment::kOther, {});
  float* x = static_cast<float*>(b.data);
  *x = 1.0F;
  alloc->deallocate(b, {}, {});
  const Block again = alloc->allocate(64, Segment::kOther, {});
  EXPECT_EQ(again.data, b.data);
  EXPECT_TRUE(std::isnan(*static_cast<float*>(again.data)));
  alloc->deallocate(again, {}, {});
}

TEST(CachingAllocator, ReleasesItsCacheBeforeItGivesUp) {
  // An upstream that owns one block's worth of memory.
  class Small final : public Allocator {
   public:
    Block allocate(std::size_t bytes, Segment segment, Stream on) override {
      if (taken_ + bytes > 4096) throw Error(ErrorKind::kMemory, "full");
      taken_ += bytes;
      return system_->allocate(bytes, segment, on);
    }
    void deallocate(Block b, Stream home, std::span<const Stream> users) noexcept override {
      taken_ -= b.bytes;
      system_->deallocate(b, home, users);
    }
    Device device() const override { return {}; }
    MemoryStats stats() const override { return {}; }
    void reset_peaks() override {}

   private:
    std::unique_ptr<Allocator> system_ = make_system_allocator({});
    std::size_t taken_ = 0;
  };
  const auto alloc = make_caching_allocator(std::make_unique<Small>());
  alloc->deallocate(alloc->allocate(3000, Segment::kOther, {}), {}, {});
  const Block b = alloc->allocate(4096, Segment::kOther, {});
  EXPECT_NE(b.data, nullptr);
  EXPECT_THROW(alloc->allocate(512, Segment::kOther, {}), Error);
  alloc->deallocate(b, {}, {});
}

TEST(CachingAllocator, ServesSeveralThreads) {
  const auto alloc = caching();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const Block b =
            alloc->allocate(static_cast<std::size_t>(600 + 100 * (i % 7)), Segment::kScratch, {});
        *static_cast<int*>(b.data) = t;
        std::this_thread::yield();
        EXPECT_EQ(*static_cast<int*>(b.data), t);
        alloc->deallocate(b, {}, {});
      }
    });
  }
  for (std::thread& t : threads)
    t.join();
  EXPECT_EQ(alloc->stats().live_bytes, 0U);
}

TEST(Storage, FreesItsBlockWithTheLastTensor) {
  Runtime runtime;
  Context& cx = runtime.context();
  {
    const Tensor t = Tensor::zeros(cx, {100}, DType::kF32);
    const Tensor view = t.slice(3, 9);
    t.storage().record_use({});  // a no-op on the CPU
    EXPECT_GT(runtime.allocator().stats().live_bytes, 0U);
  }
  EXPECT_EQ(runtime.allocator().stats().live_bytes, 0U);
}

}  // namespace
}  // namespace gradwire
