// Loops behind the tensor functions of core/tensor.h: plain ranges, one element type each.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

// Entry [to][from] and [dst][src] by place in kFloats: f32, f64, bf16.
struct TensorKernels {
  using Convert = void (*)(void* dst, const void* src, std::int64_t n);
  using AddScaled = void (*)(void* dst, const void* src, double scale, std::int64_t n);
  using Scale = void (*)(void* x, double factor, std::int64_t n);
  Convert convert[3][3];
  AddScaled add_scaled[3][3];
  Scale scale[3];
};
GW_DECLARE_KERNELS(TensorKernels, tensor_kernels);

// The same functions on a CUDA stream.
namespace cuda {
void convert(Stream s, DType to, void* dst, DType from, const void* src, std::int64_t n);
void add_scaled(Stream s, DType to, void* dst, DType from, const void* src, double scale,
                std::int64_t n);
void scale(Stream s, DType type, void* x, double factor, std::int64_t n);
void fill(Stream s, DType type, void* x, double value, std::int64_t n);
}  // namespace cuda

}  // namespace gradwire
