// One matrix product on the calling thread, by the library that measured fastest on the CPU: oneDNN
// for f32 (its sgemm reaches 165-190 GFLOP/s on an AVX-512 core without packed weights; OpenBLAS,
// on a processor it does not know by name, fell to SSE kernels and 34), OpenBLAS for f64.
// Row-major.
#pragma once

#include <cstdint>

namespace gradwire::cpu {

// The calling thread and what it calls run library code on one thread while this lives. Libraries
// cut the work by the number of threads they see, and with it change the order of additions.
class SingleThreadScope {
 public:
  SingleThreadScope();
  ~SingleThreadScope();
  SingleThreadScope(const SingleThreadScope&) = delete;
  SingleThreadScope& operator=(const SingleThreadScope&) = delete;

 private:
  int before_;
};

template <class T>
struct Block {
  T* data;
  std::int64_t ld;
  bool transposed = false;
};

struct BlockShape {
  std::int64_t m, n, k;
};

// c = op(a) op(b) + beta c. To be called inside a SingleThreadScope. Errors: kInternal.
void block_gemm(BlockShape s, Block<const float> a, Block<const float> b, float beta,
                Block<float> c);
void block_gemm(BlockShape s, Block<const double> a, Block<const double> b, double beta,
                Block<double> c);

}  // namespace gradwire::cpu
