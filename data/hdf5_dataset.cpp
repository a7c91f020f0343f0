#include <array>

#include <fmt/format.h>

#include "core/error.h"
#include "data/hdf5_types.h"

namespace gradwire {

using hdf5::own;
using hdf5::Quiet;

Hdf5Dataset::Hdf5Dataset(Hdf5Handle handle, std::string where)
    : handle_(std::move(handle)), where_(std::move(where)) {
  const Hdf5Handle space = own(H5Dget_space(handle_.get()), H5Sclose);
  const Hdf5Handle type = own(H5Dget_type(handle_.get()), H5Tclose);
  shape_ = hdf5::extent(space.get());
  if (!hdf5::element_type(type.get(), dtype_)) {
    throw Error(ErrorKind::kData, fmt::format("{}: no element type for what is stored", where_));
  }
}

Hdf5Dataset::~Hdf5Dataset() {
  const Quiet quiet;
  if (handle_ && appended_ && H5Dflush(handle_.get()) < 0) hdf5::abandon(handle_.get());
}

void Hdf5Dataset::read(void* out) const {
  const Quiet quiet;
  if (shape_.numel() == 0) return;
  const Hdf5Handle type = hdf5::memory_type(dtype_);
  if (H5Dread(handle_.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: cannot be read (damaged?): {}", where_, hdf5::reason()));
  }
}

void Hdf5Dataset::read_rows(std::int64_t begin, std::int64_t count, void* out) const {
  const Quiet quiet;
  if (begin < 0 || count < 0 || begin > rows() - count || shape_.rank() == 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: rows [{}, {}) asked for of {}", where_, begin,
                                               begin + count, to_string(shape_)));
  }
  if (count == 0 || shape_.numel() == 0) return;
  std::array<hsize_t, Shape::kMaxRank> start{};
  std::array<hsize_t, Shape::kMaxRank> sizes{};
  start[0] = static_cast<hsize_t>(begin);
  for (int i = 0; i < shape_.rank(); ++i) {
    sizes[static_cast<std::size_t>(i)] = static_cast<hsize_t>(i == 0 ? count : shape_[i]);
  }
  const Hdf5Handle type = hdf5::memory_type(dtype_);
  const Hdf5Handle space = own(H5Dget_space(handle_.get()), H5Sclose);
  const Hdf5Handle memory = own(H5Screate_simple(shape_.rank(), sizes.data(), nullptr), H5Sclose);
  H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, sizes.data(), nullptr);
  if (H5Dread(handle_.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, out) < 0) {
    throw Error(ErrorKind::kData, fmt::format("{}: rows [{}, {}) cannot be read (damaged?): {}",
                                              where_, begin, begin + count, hdf5::reason()));
  }
}

void Hdf5Dataset::append(std::int64_t count, const void* values) {
  const Quiet quiet;
  if (count == 0) return;
  appended_ = true;
  const hsize_t start = static_cast<hsize_t>(rows());
  const hsize_t added = static_cast<hsize_t>(count);
  const hsize_t total = start + added;
  const Hdf5Handle type = hdf5::memory_type(dtype_);
  const Hdf5Handle memory = own(H5Screate_simple(1, &added, nullptr), H5Sclose);
  bool ok = H5Dset_extent(handle_.get(), &total) >= 0;
  const Hdf5Handle space = own(H5Dget_space(handle_.get()), H5Sclose);
  ok =
      ok && H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &start, nullptr, &added, nullptr) >= 0;
  ok = ok &&
       H5Dwrite(handle_.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, values) >= 0;
  if (!ok) {
    const std::string why = hdf5::reason();
    hdf5::abandon(handle_.get());
    throw Error(ErrorKind::kIo,
                fmt::format("{}: {} elements cannot be added: {}", where_, count, why));
  }
  shape_ = shape_.with(0, shape_[0] + count);
}

}  // namespace gradwire
