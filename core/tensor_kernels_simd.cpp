#include "core/tensor_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class To, class From>
void convert(void* dst, const void* src, std::int64_t n) {
  To* __restrict out = static_cast<To*>(dst);
  const From* __restrict in = static_cast<const From*>(src);
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = static_cast<To>(static_cast<Compute<To>>(static_cast<Compute<From>>(in[i])));
  }
}

template <class To, class From>
void add_scaled(void* dst, const void* src, double scale, std::int64_t n) {
  using C = Compute<To>;
  To* __restrict out = static_cast<To*>(dst);
  const From* __restrict in = static_cast<const From*>(src);
  const C s = static_cast<C>(scale);
  for (std::int64_t i = 0; i < n; ++i) {
    const C add = s * static_cast<C>(static_cast<Compute<From>>(in[i]));
    out[i] = static_cast<To>(static_cast<C>(out[i]) + add);
  }
}

template <class T>
void scale(void* x, double factor, std::int64_t n) {
  using C = Compute<T>;
  T* out = static_cast<T*>(x);
  const C f = static_cast<C>(factor);
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = static_cast<T>(static_cast<C>(out[i]) * f);
}

}  // namespace

const TensorKernels tensor_kernels{
    {{convert<float, float>, convert<float, double>, convert<float, Bf16>},
     {convert<double, float>, convert<double, double>, convert<double, Bf16>},
     {convert<Bf16, float>, convert<Bf16, double>, convert<Bf16, Bf16>}},
    {{add_scaled<float, float>, add_scaled<float, double>, add_scaled<float, Bf16>},
     {add_scaled<double, float>, add_scaled<double, double>, add_scaled<double, Bf16>},
     {add_scaled<Bf16, float>, add_scaled<Bf16, double>, add_scaled<Bf16, Bf16>}},
    {scale<float>, scale<double>, scale<Bf16>}};

}  // namespace gradwire::GW_ISA
