#include "core/tensor.h"

#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"

namespace gradwire {
namespace {

// To the device. A few values (ids of a batch, words of an agreement) pass through pinned memory:
// the caller goes on at once, while many wait until the device is done with all before them.
void upload(Context& cx, const Tensor& t, std::span<const std::byte> values) {
  constexpr std::size_t kMostStaged = std::size_t{4} << 20;
  const auto copy_from = [&](const void* bytes) {
    on_device(
        t.device(), [](Device) {},
        [&](auto) { cuda::copy_to_device(cx.stream, t.raw(), bytes, t.bytes()); });
  };
  if (cx.host == nullptr || values.size() > kMostStaged) return copy_from(values.data());
  Context host = cx.on_host();
  const Tensor staged = Tensor::empty(host, t.shape(), t.dtype());
  std::memcpy(staged.raw(), values.data(), values.size());
  staged.storage().record_use(cx.stream);
  copy_from(staged.raw());
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  if (dims.size() > static_cast<std::size_t>(kMaxRank)) {
    throw Error(ErrorKind::kShape,
                fmt::format("a shape has at most {} dimensions, got {}", kMaxRank, dims.size()));
  }
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) {
      throw Error(ErrorKind::kShape,
                  fmt::format("negative dimension in [{}]", fmt::join(dims, ", ")));
    }
    dims_[i] = dims[i];
  }
}

std::int64_t Shape::numel() const noexcept {
  std::int64_t n = 1;
  for (int i = 0; i < rank_; ++i)
    n *= dims_[static_cast<std::size_t>(i)];
  return n;
}

Shape Shape::with(int dim, std::int64_t size) const {
  Shape s = *this;
  s.dims_[static_cast<std::size_t>(dim < 0 ? dim + rank_ : dim)] = size;
  return s;
}

std::string to_string(const Shape& s) {
  return fmt::format("[{}]", fmt::join(s.dims(), ", "));
}

Tensor Tensor::empty(Context& cx, const Shape& shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.numel_ = shape.numel();
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(
      *cx.alloc, static_cast<std::size_t>(t.numel_) * size_of(dtype), cx.segment, cx.stream);
  return t;
}

Tensor Tensor::zeros(Context& cx, const Shape& shape, DType dtype) {
  Tensor t = empty(cx, shape, dtype);
  fill(cx, t, 0.0);
  return t;
}

Tensor Tensor::from_bytes(Context& cx, const Shape& shape, DType dtype,
                          std::span<const std::byte> values) {
  Tensor t = empty(cx, shape, dtype);
  if (t.bytes() != values.size()) {
    throw Error(ErrorKind::kShape, fmt::format("tensor {} of {}: got {} bytes of values",
                                               to_string(shape), name_of(dtype), values.size()));
  }
  if (values.empty()) return t;
  on_device(
      t.device(), [&](Device) { std::memcpy(t.raw(), values.data(), values.size()); },
      [&](auto) { upload(cx, t, values); });
  return t;
}

Device Tensor::device() const noexcept {
  return storage_ ? storage_->device() : Device{};
}

void* Tensor::raw() const noexcept {
  if (!storage_) return nullptr;
  return static_cast<std::byte*>(storage_->data()) +
         static_cast<std::size_t>(offset_) * size_of(dtype_);
}

Tensor Tensor::view(const Shape& shape) const {
  if (shape.numel() != numel_) {
    throw Error(ErrorKind::kShape, fmt::format("view: {} elements do not fit {} -> {}", numel_,
                                               to_string(shape_), to_string(shape)));
  }
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  if (rank() < 1 || begin < 0 || end < begin || end > dim(0)) {
    throw Error(ErrorKind::kShape,
                fmt::format("slice: [{}, {}) of {}", begin, end, to_string(shape_)));
  }
  Tensor t = *this;
  const std::int64_t row = dim(0) == 0 ? 0 : numel_ / dim(0);
  t.shape_ = shape_.with(0, end - begin);
  t.numel_ = row * (end - begin);
  t.offset_ = offset_ + row * begin;
  return t;
}

Tensor Tensor::rows() const {
  check(rank() >= 1, ErrorKind::kShape, "rows: a scalar has no last dimension");
  const std::int64_t width = dim(-1);
  return view({width == 0 ? 0 : numel_ / width, width});
}

void Tensor::check_dtype(DType asked) const {
  if (asked != dtype_) {
    throw Error(ErrorKind::kShape, fmt::format("asked for {} elements of a tensor of {}",
                                               name_of(asked), name_of(dtype_)));
  }
}

void Tensor::check_host() const {
  check(device().type == DeviceType::kCpu, ErrorKind::kDevice, "tensor is not in host memory");
}

void Tensor::copy_out(Context& cx, DType as, void* out) const {
  if (as != dtype_) return cast(cx, *this, as).copy_out(cx, as, out);
  if (numel_ == 0) return;
  on_device(
      device(), [&](Device) { std::memcpy(out, raw(), bytes()); },
      [&](auto) { cuda::copy_to_host(cx.stream, out, raw(), bytes()); });
}

}  // namespace gradwire
