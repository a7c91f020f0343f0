// GW_HD marks mathematics shared by CPU and CUDA kernels. Always inlined on the host: a kernel file
// is compiled for several instruction sets, and a copy left out of line could be shared by the
// linker between them.
#pragma once

#if defined(__CUDACC__)
#define GW_HD __host__ __device__ __forceinline__
#else
#define GW_HD __attribute__((always_inline)) inline
#endif
