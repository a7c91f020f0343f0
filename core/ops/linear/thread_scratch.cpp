#include "core/ops/linear/thread_scratch.h"

#include <algorithm>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gradwire {
namespace {

constexpr std::size_t kAlign = 64;

#if defined(_OPENMP)
// Inside another parallel loop a loop of one chunk keeps the number its thread has out there.
std::size_t slots() {
  return static_cast<std::size_t>(std::max(omp_get_max_threads(), omp_get_num_threads()));
}
std::size_t slot() {
  return static_cast<std::size_t>(omp_get_thread_num());
}
#else
std::size_t slots() {
  return 1;
}
std::size_t slot() {
  return 0;
}
#endif

}  // namespace

ThreadScratch::ThreadScratch(const Context& cx, std::size_t bytes_per_thread)
    : bytes_per_thread_((bytes_per_thread + kAlign - 1) / kAlign * kAlign),
      storage_(*cx.alloc, bytes_per_thread_ * slots(), Segment::kScratch, cx.stream) {}

std::byte* ThreadScratch::mine() const {
  return static_cast<std::byte*>(storage_.data()) + slot() * bytes_per_thread_;
}

}  // namespace gradwire
