// Loops behind the elementwise operations: plain ranges of one element type, tables indexed by
// float_index(). Threads and broadcasting are added by the functions of namespace cpu.
#pragma once

#include "core/bf16.h"
#include "core/device.h"
#include "core/ops/elementwise/elementwise_math.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;
struct Broadcast;

struct ElementwiseKernels {
  static constexpr int kUnaries = static_cast<int>(Unary::kCount);
  using Map = void (*)(void* y, const void* x, std::int64_t n);
  using MapGrad = void (*)(void* dx, const void* x, const void* dy, std::int64_t n);
  using Gated = void (*)(void* y, const void* gate, const void* up, std::int64_t n);
  using GatedGrad = void (*)(void* dgate, void* dup, const void* gate, const void* up,
                             const void* dy, std::int64_t n);
  using Binary = void (*)(void* y, const void* a, const void* b, std::int64_t n);
  using Scaled = void (*)(void* y, const void* x, double factor, std::int64_t n);

  Map unary[kUnaries][3];
  MapGrad unary_grad[kUnaries][3];
  Gated gated[kUnaries][3];
  GatedGrad gated_grad[kUnaries][3];
  // [0]: a and b both advance; [1]: b is one element for all of a.
  Binary add[2][3];
  Binary mul[2][3];
  Scaled scaled[3];
};
GW_DECLARE_KERNELS(ElementwiseKernels, elementwise_kernels);

enum class BinaryOp : int { kAdd, kMul };

struct GatedGrad {
  const Tensor &dgate, &dup;  // written
  const Tensor &gate, &up, &dy;
};

// Tensors of one shape and float type each.
namespace cpu {
void unary(Unary which, const Tensor& y, const Tensor& x);
void unary_grad(Unary which, const Tensor& dx, const Tensor& x, const Tensor& dy);
void gated(Unary act, const Tensor& y, const Tensor& gate, const Tensor& up);
void gated_grad(Unary act, const GatedGrad& g);
void scaled(const Tensor& y, const Tensor& x, double factor);
void binary(BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b, const Broadcast& plan);
}  // namespace cpu

// The same on a stream.
namespace cuda {
void unary(Stream s, Unary which, const Tensor& y, const Tensor& x);
void unary_grad(Stream s, Unary which, const Tensor& dx, const Tensor& x, const Tensor& dy);
void gated(Stream s, Unary act, const Tensor& y, const Tensor& gate, const Tensor& up);
void gated_grad(Stream s, Unary act, const GatedGrad& g);
void scaled(Stream s, const Tensor& y, const Tensor& x, double factor);
void binary(Stream s, BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b,
            const Broadcast& plan);
}  // namespace cuda

}  // namespace gradwire
