// Encoding and decoding take no memory from the heap, so that steps cost what they compute.
#include <atomic>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "tests/comm/codec/codec_inputs.h"

namespace {
std::atomic<int> allocations = 0;
}

// Not inlined: g++ would see malloc() meet delete, or new meet free(), and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* block = std::malloc(bytes)) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}

namespace gradwire::test {
namespace {

TEST(CodecAllocations, AreNoneAfterTheFirstCall) {
  const std::vector<float> x = normal_values(300'001, 1);
  std::vector<float> residual(x.size()), to(x.size());
  std::vector<std::byte> live((x.size() + 7) / 8, std::byte{0x55});
  for (const std::string& name : all_codecs()) {
    const auto codec = make_codec({.name = name});
    std::vector<std::byte> out(codec->max_bytes(static_cast<std::int64_t>(x.size())));
    const auto step = [&] {
      codec->encode({.x = x, .residual = residual}, {}, out);
      codec->encode({.x = x, .live = live}, {}, out);
      codec->decode(out, to);
      codec->decode_add(out, 0.5F, to);
      codec->decode(out, {.to = to, .live = live});
    };
    step();
    const int before = allocations;
    step();
    EXPECT_EQ(allocations, before) << name;
  }
  EXPECT_GT(allocations, 0) << "nothing is counted";
}

}  // namespace
}  // namespace gradwire::test
