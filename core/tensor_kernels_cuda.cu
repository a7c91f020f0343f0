#include "core/cuda/device_cuda.h"
#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/tensor_kernels.h"

namespace gradwire::cuda {
namespace {

template <class To, class From>
struct Convert {
  To* out;
  const From* in;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<From, kWidth> x = load_pack<kWidth>(in + i);
    Pack<To, kWidth> y;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      y.v[k] = static_cast<To>(static_cast<Compute<To>>(widen(x.v[k])));
    store_pack(out + i, y);
  }
};

template <class To, class From>
struct AddScaled {
  To* out;
  const From* in;
  Compute<To> scale;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<From, kWidth> x = load_pack<kWidth>(in + i);
    Pack<To, kWidth> y = load_pack<kWidth>(out + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Compute<To> add = scale * static_cast<Compute<To>>(widen(x.v[k]));
      y.v[k] = static_cast<To>(widen(y.v[k]) + add);
    }
    store_pack(out + i, y);
  }
};

template <class T>
struct Scale {
  T* x;
  Compute<T> factor;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> y = load_pack<kWidth>(x + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      y.v[k] = static_cast<T>(widen(y.v[k]) * factor);
    store_pack(x + i, y);
  }
};

template <class T>
struct Fill {
  T* x;
  T value;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> y;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      y.v[k] = value;
    store_pack(x + i, y);
  }
};

// Calls f with typed pointers to dst and src.
template <class F>
void on_pair(DType to, void* dst, DType from, const void* src, F&& f) {
  on_float(to, [&](auto to_type) {
    on_float(from, [&](auto from_type) {
      f(static_cast<typename decltype(to_type)::type*>(dst),
        static_cast<const typename decltype(from_type)::type*>(src));
    });
  });
}

template <class T>
void fill_as(Stream s, void* x, T value, std::int64_t n) {
  T* out = static_cast<T*>(x);
  constexpr int kWidth = kPackWidth<T>;
  each<kWidth>(s, n, aligned_for<kWidth>(out), Fill<T>{out, value});
}

}  // namespace

void convert(Stream s, DType to, void* dst, DType from, const void* src, std::int64_t n) {
  on_pair(to, dst, from, src, [&]<class To, class From>(To* out, const From* in) {
    constexpr int kWidth = kPackWidth<To, From>;
    each<kWidth>(s, n, aligned_for<kWidth>(out, in), Convert<To, From>{out, in});
  });
}

void add_scaled(Stream s, DType to, void* dst, DType from, const void* src, double scale,
                std::int64_t n) {
  on_pair(to, dst, from, src, [&]<class To, class From>(To* out, const From* in) {
    constexpr int kWidth = kPackWidth<To, From>;
    each<kWidth>(s, n, aligned_for<kWidth>(out, in),
                 AddScaled<To, From>{out, in, static_cast<Compute<To>>(scale)});
  });
}

void scale(Stream s, DType type, void* x, double factor, std::int64_t n) {
  on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    T* out = static_cast<T*>(x);
    constexpr int kWidth = kPackWidth<T>;
    each<kWidth>(s, n, aligned_for<kWidth>(out), Scale<T>{out, static_cast<Compute<T>>(factor)});
  });
}

void fill(Stream s, DType type, void* x, double value, std::int64_t n) {
  switch (type) {
    case DType::kF32: return fill_as(s, x, static_cast<float>(value), n);
    case DType::kF64: return fill_as(s, x, value, n);
    case DType::kBf16: return fill_as(s, x, Bf16(static_cast<float>(value)), n);
    case DType::kI32: return fill_as(s, x, static_cast<std::int32_t>(value), n);
    case DType::kI64: return fill_as(s, x, static_cast<std::int64_t>(value), n);
    case DType::kU8: return set_bytes(s, x, static_cast<int>(value), static_cast<std::size_t>(n));
  }
}

}  // namespace gradwire::cuda
