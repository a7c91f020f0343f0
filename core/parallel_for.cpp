#include "core/parallel_for.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gradwire {

#if defined(_OPENMP)
int thread_count() {
  return omp_in_parallel() ? 1 : omp_get_max_threads();
}
void set_thread_count(int n) {
  omp_set_num_threads(n);
}
#else
int thread_count() {
  return 1;
}
void set_thread_count(int) {}
#endif

}  // namespace gradwire
