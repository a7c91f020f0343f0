// A tensor: a shallow handle on shared storage, with a shape and an element type. Row-major and
// contiguous always; a view is a reshape or a range of the first dimension. No gradient lives here.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/bf16.h"
#include "core/context.h"
#include "core/device.h"
#include "core/memory.h"

namespace gradwire {

class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;  // a scalar
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const noexcept { return rank_; }
  // Dimension i; negative i counts from the last.
  std::int64_t operator[](int i) const {
    return dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)];
  }
  std::int64_t numel() const noexcept;
  Shape with(int dim, std::int64_t size) const;  // one dimension changed
  std::span<const std::int64_t> dims() const {
    return {dims_.data(), static_cast<std::size_t>(rank_)};
  }
  friend bool operator==(const Shape& a, const Shape& b) = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};
std::string to_string(const Shape& s);  // "[4, 8]"

template <class T>
inline constexpr DType kDTypeOf = DType::kU8;
template <>
inline constexpr DType kDTypeOf<float> = DType::kF32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kF64;
template <>
inline constexpr DType kDTypeOf<Bf16> = DType::kBf16;
template <>
inline constexpr DType kDTypeOf<std::int32_t> = DType::kI32;
template <>
inline constexpr DType kDTypeOf<std::int64_t> = DType::kI64;

class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(Context& cx, const Shape& shape, DType dtype);
  static Tensor zeros(Context& cx, const Shape& shape, DType dtype);
  // A copy of host values on the context's device.
  template <class T>
  static Tensor from(Context& cx, const Shape& shape, std::span<const T> values) {
    return from_bytes(cx, shape, kDTypeOf<T>, std::as_bytes(values));
  }
  template <class T>
  static Tensor from(Context& cx, const Shape& shape, const std::vector<T>& values) {
    return from(cx, shape, std::span<const T>(values));
  }

  explicit operator bool() const noexcept { return storage_ != nullptr; }
  const Shape& shape() const noexcept { return shape_; }
  int rank() const noexcept { return shape_.rank(); }
  std::int64_t dim(int i) const { return shape_[i]; }
  std::int64_t numel() const noexcept { return numel_; }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(numel_) * size_of(dtype_); }
  DType dtype() const noexcept { return dtype_; }
  Device device() const noexcept;
  Storage& storage() const { return *storage_; }
  // True if this handle is the only one on its storage: it may then be overwritten in place.
  bool unique() const noexcept { return storage_.use_count() == 1; }

  // The elements, wherever they live. Throws Error(kShape) unless T is the element type.
  template <class T>
  T* data() const {
    check_dtype(kDTypeOf<T>);
    return static_cast<T*>(raw());
  }
  void* raw() const noexcept;
  // The elements as a span; throws unless they live in host memory and are of type T.
  template <class T>
  std::span<T> host() const {
    check_host();
    return {data<T>(), static_cast<std::size_t>(numel_)};
  }
  // A host copy, waiting for the device if it must. Floats convert between f32, f64 and bf16.
  template <class T>
  std::vector<T> to_host(Context& cx) const {
    std::vector<T> out(static_cast<std::size_t>(numel_));
    copy_out(cx, kDTypeOf<T>, out.data());
    return out;
  }

  // Views: they share storage. Errors: kShape.
  Tensor view(const Shape& shape) const;                     // same number of elements
  Tensor slice(std::int64_t begin, std::int64_t end) const;  // of dimension 0
  Tensor flat() const { return view({numel_}); }
  Tensor rows() const;  // [.., D] as [N, D]

 private:
  static Tensor from_bytes(Context& cx, const Shape& shape, DType dtype,
                           std::span<const std::byte> values);
  void check_dtype(DType asked) const;
  void check_host() const;
  void copy_out(Context& cx, DType as, void* out) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  std::int64_t numel_ = 0;
  std::int64_t offset_ = 0;  // elements
  DType dtype_ = DType::kF32;
};

// dst <- src, same number of elements; between devices and between float types. Queued on
// cx.stream.
void copy(Context& cx, const Tensor& dst, const Tensor& src);
// Sets every element; integers are rounded towards zero.
void fill(Context& cx, const Tensor& t, double value);
// dst += scale * src, same shape; src may be of another float type.
void add_scaled(Context& cx, const Tensor& dst, const Tensor& src, double scale = 1.0);
// x *= factor.
void scale(Context& cx, const Tensor& x, double factor);
// A new tensor with the same elements as `to`.
Tensor cast(Context& cx, const Tensor& x, DType to);
// Random elements: element i of `t` uses numbers of (rng.seed, rng.offset + i); see rng.h.
void fill_uniform(Context& cx, const Tensor& t, Rng rng, double low, double high);
void fill_normal(Context& cx, const Tensor& t, Rng rng, double stddev);

}  // namespace gradwire
