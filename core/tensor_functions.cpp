#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include <fmt/format.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "core/tensor.h"
#include "core/tensor_kernels.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

void* at(void* base, std::int64_t i, DType t) {
  return static_cast<std::byte*>(base) + static_cast<std::size_t>(i) * size_of(t);
}

void check_same_size(const char* what, const Tensor& dst, const Tensor& src) {
  if (dst.numel() != src.numel()) {
    throw Error(ErrorKind::kShape,
                fmt::format("{}: {} <- {}", what, to_string(dst.shape()), to_string(src.shape())));
  }
}

template <class T>
void fill_host(const Tensor& t, double value) {
  T* x = t.data<T>();
  const T v = static_cast<T>(static_cast<Compute<T>>(value));
  parallel_for(t.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { std::fill(x + b, x + e, v); });
}

void fill_cpu(const Tensor& t, double value) {
  switch (t.dtype()) {
    case DType::kF32: return fill_host<float>(t, value);
    case DType::kF64: return fill_host<double>(t, value);
    case DType::kBf16: return fill_host<Bf16>(t, value);
    case DType::kI32: return fill_host<std::int32_t>(t, value);
    case DType::kI64: return fill_host<std::int64_t>(t, value);
    case DType::kU8: std::memset(t.raw(), static_cast<int>(value), t.bytes()); return;
  }
}

// Random values are made on the host for every device, so that they agree bit for bit.
template <class F>
void fill_from(Context& cx, const Tensor& t, const F& value_at) {
  std::vector<float> host(static_cast<std::size_t>(t.numel()));
  parallel_for(t.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = b; i < e; ++i) {
      host[static_cast<std::size_t>(i)] =
          static_cast<float>(value_at(static_cast<std::uint64_t>(i)));
    }
  });
  copy(cx, t, Tensor::from(cx, t.shape(), host));
}

void copy_same_type(Context& cx, const Tensor& dst, const Tensor& src) {
  const bool to_host = dst.device().type == DeviceType::kCpu;
  const bool from_host = src.device().type == DeviceType::kCpu;
  if (to_host && from_host) {
    parallel_for(static_cast<std::int64_t>(dst.bytes()), kGrain * 4,
                 [&](std::int64_t b, std::int64_t e) {
                   std::memcpy(static_cast<std::byte*>(dst.raw()) + b,
                               static_cast<const std::byte*>(src.raw()) + b,
                               static_cast<std::size_t>(e - b));
                 });
    return;
  }
  on_device(
      cx.stream.device,
      [](Device) { throw Error(ErrorKind::kDevice, "copy: CPU context, GPU tensor"); },
      [&](auto) {
        if (to_host) return cuda::copy_to_host(cx.stream, dst.raw(), src.raw(), dst.bytes());
        if (from_host) return cuda::copy_to_device(cx.stream, dst.raw(), src.raw(), dst.bytes());
        cuda::copy_on_device(cx.stream, dst.raw(), src.raw(), dst.bytes());
      });
}

}  // namespace

void copy(Context& cx, const Tensor& dst, const Tensor& src) {
  check_same_size("copy", dst, src);
  if (dst.numel() == 0) return;
  if (dst.dtype() == src.dtype()) return copy_same_type(cx, dst, src);
  if (dst.device() != src.device()) return copy_same_type(cx, dst, cast(cx, src, dst.dtype()));
  const auto kernel = tensor_kernels().convert[float_index(dst.dtype())][float_index(src.dtype())];
  on_device(
      dst.device(),
      [&](Device) {
        parallel_for(dst.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
          kernel(at(dst.raw(), b, dst.dtype()), at(src.raw(), b, src.dtype()), e - b);
        });
      },
      [&](auto) {
        cuda::convert(cx.stream, dst.dtype(), dst.raw(), src.dtype(), src.raw(), dst.numel());
      });
}

void fill(Context& cx, const Tensor& t, double value) {
  if (t.numel() == 0) return;
  on_device(
      t.device(), [&](Device) { fill_cpu(t, value); },
      [&](auto) { cuda::fill(cx.stream, t.dtype(), t.raw(), value, t.numel()); });
}

void add_scaled(Context& cx, const Tensor& dst, const Tensor& src, double factor) {
  check_same_size("add_scaled", dst, src);
  if (dst.numel() == 0) return;
  const auto kernel =
      tensor_kernels().add_scaled[float_index(dst.dtype())][float_index(src.dtype())];
  on_device(
      dst.device(),
      [&](Device) {
        parallel_for(dst.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
          kernel(at(dst.raw(), b, dst.dtype()), at(src.raw(), b, src.dtype()), factor, e - b);
        });
      },
      [&](auto) {
        cuda::add_scaled(cx.stream, dst.dtype(), dst.raw(), src.dtype(), src.raw(), factor,
                         dst.numel());
      });
}

void scale(Context& cx, const Tensor& x, double factor) {
  if (x.numel() == 0) return;
  const auto kernel = tensor_kernels().scale[float_index(x.dtype())];
  on_device(
      x.device(),
      [&](Device) {
        parallel_for(x.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
          kernel(at(x.raw(), b, x.dtype()), factor, e - b);
        });
      },
      [&](auto) { cuda::scale(cx.stream, x.dtype(), x.raw(), factor, x.numel()); });
}

Tensor cast(Context& cx, const Tensor& x, DType to) {
  if (x.dtype() == to) return x;
  Tensor out = Tensor::empty(cx, x.shape(), to);
  copy(cx, out, x);
  return out;
}

void fill_uniform(Context& cx, const Tensor& t, Rng rng, double low, double high) {
  fill_from(cx, t, [&](std::uint64_t i) {
    return low + (high - low) * to_uniform(random_word(rng.seed, rng.offset + i));
  });
}

void fill_normal(Context& cx, const Tensor& t, Rng rng, double stddev) {
  fill_from(cx, t, [&](std::uint64_t i) {  // Box and Muller, two numbers per element
    const double u = 1.0 - to_uniform(random_word(rng.seed, rng.offset + 2 * i));
    const double angle =
        2.0 * std::numbers::pi * to_uniform(random_word(rng.seed, rng.offset + 2 * i + 1));
    return stddev * std::sqrt(-2.0 * std::log(u)) * std::cos(angle);
  });
}

}  // namespace gradwire
