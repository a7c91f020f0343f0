// The only two switches of the program: on the device, and on the element type. Free of fmt, which
// nvcc does not compile.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "core/bf16.h"
#include "core/device.h"
#include "core/error.h"

namespace gradwire {

// Calls cpu() or cuda(). In a build without CUDA the second is never instantiated, so it may name
// functions that only a .cu file defines: pass it as a generic lambda `[&](auto) { ... }`.
template <class Cpu, class Cuda>
decltype(auto) on_device(Device d, Cpu&& cpu, Cuda&& cuda) {
  if constexpr (kCudaBuilt) {
    if (d.type == DeviceType::kCuda) return cuda(d);
  }
  if (d.type != DeviceType::kCpu) throw Error(ErrorKind::kDevice, "built without CUDA");
  return cpu(d);
}

template <class T>
struct Type {
  using type = T;
};

[[noreturn]] inline void throw_not_float(DType t) {
  throw Error(ErrorKind::kShape, std::string("not a float type: ") + name_of(t));
}

// Calls f(Type<T>{}) with float, double or Bf16.
template <class F>
decltype(auto) on_float(DType t, F&& f) {
  switch (t) {
    case DType::kF32: return f(Type<float>{});
    case DType::kF64: return f(Type<double>{});
    case DType::kBf16: return f(Type<Bf16>{});
    default: throw_not_float(t);
  }
}

// Where a float type stands in tables of kernels: f32, f64, bf16.
inline constexpr int kFloatTypes = 3;
inline std::size_t float_index(DType t) {
  if (!is_float(t)) throw_not_float(t);
  return t == DType::kF32 ? 0 : t == DType::kF64 ? 1 : 2;
}

// For the second branch of on_device() in an op that has no CUDA sibling yet.
[[noreturn]] inline void no_cuda_kernel(const char* op) {
  throw Error(ErrorKind::kDevice, std::string(op) + ": no CUDA kernel");
}

}  // namespace gradwire
