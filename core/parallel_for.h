// Loops over the cores. The cut into chunks depends on n and grain alone, never on the number of
// threads, so that sums made per chunk and combined in order repeat bit for bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>

namespace gradwire {

int thread_count();            // of parallel loops started by the calling thread
void set_thread_count(int n);  // n >= 1

// f(begin, end) for each chunk of at most `grain` indices below n.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  if (n <= 0) return;
  const std::int64_t chunks = (n + grain - 1) / grain;
  if (chunks == 1) return f(std::int64_t{0}, n);
  std::exception_ptr failure;
#pragma omp parallel for schedule(static)
  for (std::int64_t c = 0; c < chunks; ++c) {
    try {
      f(c * grain, std::min(n, (c + 1) * grain));
    } catch (...) {
#pragma omp critical(gradwire_parallel_for)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace gradwire
