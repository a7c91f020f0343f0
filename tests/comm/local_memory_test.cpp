// Memory that runs out at any allocation of a collective: an error on all ranks, and no hang.
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"

namespace {
// Allocations of this thread until one fails; negative: none does.
thread_local int allocations_left = -1;
}  // namespace

// Inlined into each other, the pair below looks to GCC as if free() got what new has given.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(std::size_t bytes) {
  if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
  void* const p = std::malloc(bytes > 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

namespace gradwire {
namespace {

// True: rank 1, which comes last and so moves the data of all, got through.
bool gets_through(int allocations) {
  std::atomic<bool> others_are_there = false;
  try {
    run_ranks(2, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Tensor t = Tensor::zeros(cx, {40'000}, DType::kF32);
      if (comm.rank() == 0) {
        const WorkPtr work = comm.all_reduce(t, ReduceOp::kSum, cx.stream);
        others_are_there = true;
        work->wait(cx.stream);
        return;
      }
      while (!others_are_there)
        std::this_thread::yield();
      allocations_left = allocations;
      try {
        comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream);
      } catch (...) {
        allocations_left = -1;
        throw;
      }
      allocations_left = -1;
    });
  } catch (const Error&) {
    return false;
  }
  return true;
}

TEST(LocalComm, RunningOutOfMemoryEndsACollectiveOnAllRanks) {
  int allocations = 0;
  while (!gets_through(allocations))
    ++allocations;
  EXPECT_GT(allocations, 3);
}

}  // namespace
}  // namespace gradwire
