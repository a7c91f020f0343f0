// Scratch memory for the threads of one parallel_for, taken once for all of them before the loop:
// how much is taken does not depend on which thread runs first.
#pragma once

#include <cstddef>

#include "core/context.h"

namespace gradwire {

class ThreadScratch {
 public:
  ThreadScratch(const Context& cx, std::size_t bytes_per_thread);
  // The part of the calling thread, 64-byte aligned.
  std::byte* mine() const;

 private:
  std::size_t bytes_per_thread_;
  Storage storage_;
};

}  // namespace gradwire
