#include <cstring>
#include <thread>

#include <gmock/gmock.h>

#include "core/cuda/device_cuda.h"
#include "core/error.h"
#include "tests/core/cuda/fixture.h"

namespace gradwire::test {
namespace {

using CudaDevice = CudaTest;

TEST_F(CudaDevice, DescribesItself) {
  EXPECT_THAT(cuda::describe(cuda.stream.device), testing::HasSubstr("compute capability"));
  EXPECT_GE(cuda::device_count(), 1);
}

TEST_F(CudaDevice, BytesComeBackAsTheyWent) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{777}, std::size_t{3} << 20}) {
    std::vector<unsigned char> sent(bytes), got(bytes);
    for (std::size_t i = 0; i < bytes; ++i)
      sent[i] = static_cast<unsigned char>(i * 31 + i / 251);
    void* first = cuda::allocate(cuda.stream.device, bytes);
    void* second = cuda::allocate(cuda.stream.device, bytes);
    cuda::copy_to_device(cuda.stream, first, sent.data(), bytes);
    cuda::copy_on_device(cuda.stream, second, first, bytes);
    cuda::copy_to_host(cuda.stream, got.data(), second, bytes);
    EXPECT_EQ(got, sent);
    cuda::set_bytes(cuda.stream, second, 9, bytes);
    cuda::copy_to_host(cuda.stream, got.data(), second, bytes);
    EXPECT_THAT(got, testing::Each(9));
    cuda::release(cuda.stream.device, first);
    cuda::release(cuda.stream.device, second);
  }
}

TEST_F(CudaDevice, PinnedMemoryCopies) {
  constexpr std::size_t kBytes = 4096;
  void* pinned = cuda::allocate_pinned(kBytes);
  void* device = cuda::allocate(cuda.stream.device, kBytes);
  std::memset(pinned, 5, kBytes);
  cuda::copy_to_device(cuda.stream, device, pinned, kBytes);
  std::vector<unsigned char> got(kBytes);
  cuda::copy_to_host(cuda.stream, got.data(), device, kBytes);
  EXPECT_THAT(got, testing::Each(5));
  cuda::release(cuda.stream.device, device);
  cuda::release_pinned(pinned);
}

TEST_F(CudaDevice, EventsAreDoneOnceTheirStreamIs) {
  void* event = cuda::record_event(cuda.stream);
  cuda::synchronize(cuda.stream);
  EXPECT_TRUE(cuda::event_done(event));
  cuda::release_event(event);
}

TEST_F(CudaDevice, OutOfMemoryIsAnErrorOfItsOwnAndLeavesTheDeviceUsable) {
  try {
    cuda::allocate(cuda.stream.device, std::size_t{1} << 50);
    FAIL() << "a pebibyte was there";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory);
    EXPECT_THAT(e.what(), testing::HasSubstr("1125899906842624 bytes"));
  }
  EXPECT_EQ(Tensor::zeros(cuda, {5}, DType::kF32).to_host<float>(cuda), std::vector<float>(5));
}

TEST_F(CudaDevice, BlocksUsedOnAnotherStreamAreHandedOutAgainOnceItIsDone) {
  const Stream other = cuda::create_stream(cuda.stream.device);
  Context elsewhere = cuda;
  elsewhere.stream = other;
  const std::vector<float> values(1000, 3.0F);
  for (int round = 0; round < 20; ++round) {
    Tensor t = Tensor::from(cuda, {1000}, values);
    cuda::synchronize(cuda.stream);
    t.storage().record_use(other);
    scale(elsewhere, t, 2.0);
    t = {};
    cuda::synchronize(other);
  }
  const std::int64_t before = cuda_runtime.allocator().stats().system_allocations;
  EXPECT_LE(before, 2);
  cuda::destroy_stream(other);
}

TEST_F(CudaDevice, ThreadsWorkSideBySideWithRuntimesOfTheirOwn) {
  std::vector<std::vector<float>> got(3);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < got.size(); ++i) {
    threads.emplace_back([&, i] {
      Runtime own{RuntimeOptions{.device = {DeviceType::kCuda, 0}, .caching = {}}};
      const Tensor t = Tensor::zeros(own.context(), {10000}, DType::kF32);
      fill(own.context(), t, static_cast<double>(i));
      scale(own.context(), t, 3.0);
      got[i] = t.to_host<float>(own.context());
    });
  }
  threads.clear();
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got[i], std::vector<float>(10000, 3.0F * static_cast<float>(i)));
}

}  // namespace
}  // namespace gradwire::test
