// What a CUDA build promises on any machine, with or without a GPU.
#include <cstdint>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/context.h"
#include "core/cuda/device_cuda.h"
#include "core/error.h"

namespace gradwire {
namespace {

TEST(CudaDriver, DeviceThatIsNotThereIsAnErrorThatNamesTheDriver) {
  const int count = cuda::device_count();
  ASSERT_GE(count, 0);
  ASSERT_LT(count, 128);
  const Device missing{DeviceType::kCuda, static_cast<std::int8_t>(count)};
  for (int i = 0; i < 2; ++i) {  // an error leaves nothing behind
    try {
      Runtime runtime{RuntimeOptions{.device = missing, .caching = {}}};
      FAIL() << "cuda:" << count << " exists";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kDevice);
      EXPECT_THAT(e.what(), testing::HasSubstr("cuda:" + std::to_string(count)));
      EXPECT_THAT(e.what(), testing::HasSubstr(std::to_string(count) + " usable GPUs"));
      EXPECT_THAT(e.what(), testing::HasSubstr("driver"));
    }
  }
}

TEST(CudaDriver, CallsOnADeviceThatIsNotThereThrow) {
  const Device missing{DeviceType::kCuda, static_cast<std::int8_t>(cuda::device_count())};
  char host[8] = {};
  EXPECT_THROW(cuda::describe(missing), Error);
  EXPECT_THROW(cuda::allocate(missing, 16), Error);
  EXPECT_THROW(cuda::record_event({missing, nullptr}), Error);
  EXPECT_THROW(cuda::copy_to_host({missing, nullptr}, host, host, sizeof host), Error);
  EXPECT_THROW(cuda::synchronize({missing, nullptr}), Error);
  EXPECT_EQ(cuda::allocate(missing, 0), nullptr);
}

TEST(CudaDriver, PinnedMemoryFallsBackToPageable) {
  EXPECT_EQ(cuda::allocate_pinned(0), nullptr);
  cuda::release_pinned(nullptr);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) {
    void* data = cuda::allocate_pinned(bytes);
    ASSERT_NE(data, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0U);
    std::memset(data, 7, bytes);
    cuda::release_pinned(data);
  }
}

}  // namespace
}  // namespace gradwire
