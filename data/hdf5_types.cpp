#include "data/hdf5_types.h"

#include <algorithm>
#include <array>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"
#include "core/printable.h"

namespace gradwire {

Hdf5Handle::Hdf5Handle(Hdf5Handle&& other) noexcept : id_(other.id_), closer_(other.closer_) {
  other.id_ = -1;
}

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = other.id_;
    closer_ = other.closer_;
    other.id_ = -1;
  }
  return *this;
}

bool Hdf5Handle::reset() noexcept {
  if (id_ < 0) return true;
  const hdf5::Quiet quiet;
  const bool closed = closer_(id_) >= 0;
  id_ = -1;
  return closed;
}

namespace hdf5 {
namespace {

herr_t keep_innermost(unsigned n, const H5E_error2_t* entry, void* out) {
  if (n == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
  return 0;
}

// 1 sign, 8 exponent and 7 mantissa bits: the upper half of an IEEE single.
Hdf5Handle bf16_type(hid_t single) {
  Hdf5Handle type = own(H5Tcopy(single), H5Tclose);
  const bool made = H5Tset_fields(type.get(), 15, 7, 8, 0, 7) >= 0 &&
                    H5Tset_size(type.get(), 2) >= 0 && H5Tset_ebias(type.get(), 127) >= 0;
  check(made, ErrorKind::kInternal, "hdf5: the bf16 type was refused");
  return type;
}

}  // namespace

Quiet::Quiet() {
  H5Eget_auto2(H5E_DEFAULT, &printer_, &printer_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Quiet::~Quiet() {
  H5Eset_auto2(H5E_DEFAULT, printer_, printer_data_);
}

std::string reason() {
  std::string why = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &why);
  return printable_word(why);  // it may name what stands in the file
}

Hdf5Handle own(hid_t id, herr_t (*closer)(hid_t)) {
  return Hdf5Handle(id, closer);
}

Hdf5Handle memory_type(DType dtype) {
  switch (dtype) {
    case DType::kF32: return own(H5Tcopy(H5T_NATIVE_FLOAT), H5Tclose);
    case DType::kF64: return own(H5Tcopy(H5T_NATIVE_DOUBLE), H5Tclose);
    case DType::kBf16: return bf16_type(H5T_NATIVE_FLOAT);
    case DType::kI32: return own(H5Tcopy(H5T_NATIVE_INT32), H5Tclose);
    case DType::kI64: return own(H5Tcopy(H5T_NATIVE_INT64), H5Tclose);
    case DType::kU8: return own(H5Tcopy(H5T_NATIVE_UINT8), H5Tclose);
  }
  throw Error(ErrorKind::kInternal, "hdf5: an element type without a type in memory");
}

Hdf5Handle file_type(DType dtype) {
  switch (dtype) {
    case DType::kF32: return own(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    case DType::kF64: return own(H5Tcopy(H5T_IEEE_F64LE), H5Tclose);
    case DType::kBf16: return bf16_type(H5T_IEEE_F32LE);
    case DType::kI32: return own(H5Tcopy(H5T_STD_I32LE), H5Tclose);
    case DType::kI64: return own(H5Tcopy(H5T_STD_I64LE), H5Tclose);
    case DType::kU8: return own(H5Tcopy(H5T_STD_U8LE), H5Tclose);
  }
  throw Error(ErrorKind::kInternal, "hdf5: an element type without a type in a file");
}

bool element_type(hid_t file_type, DType& dtype) {
  const std::size_t bytes = H5Tget_size(file_type);
  if (H5Tget_class(file_type) == H5T_FLOAT) {
    dtype = bytes == 8 ? DType::kF64 : bytes == 4 ? DType::kF32 : DType::kBf16;
    return bytes == 8 || bytes == 4 || (bytes == 2 && H5Tget_ebias(file_type) == 127);
  }
  if (H5Tget_class(file_type) != H5T_INTEGER) return false;
  const bool is_signed = H5Tget_sign(file_type) != H5T_SGN_NONE;
  if (!is_signed && bytes == 1) {
    dtype = DType::kU8;
  } else if (bytes < 4 || (is_signed && bytes == 4)) {
    dtype = DType::kI32;
  } else {
    dtype = DType::kI64;
  }
  return bytes <= (is_signed ? 8u : 4u);
}

Shape extent(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank < 0 || rank > Shape::kMaxRank) {
    throw Error(ErrorKind::kData, "hdf5: more dimensions than a tensor can have");
  }
  constexpr hsize_t kMostBytes = hsize_t{1} << 56;  // so that bytes can be counted in 64 bits
  std::array<hsize_t, Shape::kMaxRank> sizes{};
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  hsize_t room = kMostBytes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(rank); ++i) {
    if (sizes[i] > room)
      throw Error(ErrorKind::kData, "hdf5: more elements than any file can hold");
    room /= std::max<hsize_t>(sizes[i], 1);
    dims[i] = static_cast<std::int64_t>(sizes[i]);
  }
  return Shape(std::span(dims).first(static_cast<std::size_t>(rank)));
}

void abandon(hid_t object) noexcept {
  const Hdf5Handle file = own(H5Iget_file_id(object), H5Fclose);
  void* descriptor = nullptr;
  const int sink = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (sink < 0) return;
  if (H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) >= 0) {
    ::dup2(sink, *static_cast<int*>(descriptor));
  }
  ::close(sink);
}

}  // namespace hdf5
}  // namespace gradwire
