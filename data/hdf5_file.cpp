#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/printable.h"
#include "data/hdf5_types.h"

namespace gradwire {

using hdf5::own;
using hdf5::Quiet;
using hdf5::reason;

namespace {

constexpr std::int64_t kChunkBytes = 1 << 20;
constexpr hsize_t kMostChunkBytes = hsize_t{64} << 20;
constexpr hsize_t kMostDeflation = 1032;        // of any stream that DEFLATE (RFC 1951) can write
constexpr std::size_t kMostDatasets = 1 << 22;  // of a file

// No locks: files are complete before they get their name, and shared file systems often lack
// locks. All objects of a file are closed with it.
Hdf5Handle file_access() {
  Hdf5Handle access = own(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_file_locking(access.get(), false, true);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V110);
  return access;
}

// Whole trailing dimensions as far as kChunkBytes goes. The same values must give the same bytes,
// hence no times.
Hdf5Handle dataset_layout(const Shape& chunk) {
  Hdf5Handle layout = own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(layout.get(), false);
  H5Pset_fill_time(layout.get(), H5D_FILL_TIME_NEVER);
  if (chunk.rank() == 0 || chunk.numel() == 0) return layout;
  std::array<hsize_t, Shape::kMaxRank> sizes{};
  std::transform(chunk.dims().begin(), chunk.dims().end(), sizes.begin(),
                 [](std::int64_t n) { return static_cast<hsize_t>(n); });
  H5Pset_chunk(layout.get(), chunk.rank(), sizes.data());
  H5Pset_fletcher32(layout.get());
  return layout;
}

Shape chunk_of(const Shape& shape, DType dtype) {
  std::int64_t room = kChunkBytes / static_cast<std::int64_t>(size_of(dtype));
  Shape chunk = shape;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const std::int64_t size =
        std::clamp<std::int64_t>(shape[i], 1, std::max<std::int64_t>(room, 1));
    chunk = chunk.with(i, shape[i] == 0 ? 0 : size);
    room /= size;
  }
  return chunk;
}

Hdf5Handle make_groups() {
  Hdf5Handle links = own(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  return links;
}

std::string place(const std::string& path, const std::string& name) {
  return fmt::format("{}: dataset '{}'", path, printable_word(name));
}

// The part of the name that is a link to another place, or empty. A dataset is in the file itself,
// at the name it has there: a link that leads elsewhere, even into another file, is nothing that we
// write, and could make us read whatever this user may.
std::string link_in(hid_t file, const std::string& name) {
  for (std::size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string part = name.substr(0, end);
    H5L_info_t link{};
    const bool known = H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT) >= 0;
    if (known && link.type != H5L_TYPE_HARD) return part;
    if (!known || end == std::string::npos) return "";
  }
}

bool is_known(H5Z_filter_t filter) {
  return filter == H5Z_FILTER_FLETCHER32 || filter == H5Z_FILTER_SHUFFLE ||
         filter == H5Z_FILTER_DEFLATE;
}

// How many bytes of elements a byte of the file may stand for.
hsize_t most_bytes_per_byte(hid_t layout, const std::string& where) {
  hsize_t most = 1;
  for (int i = 0; i < H5Pget_nfilters(layout); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(layout, static_cast<unsigned>(i), &flags, &values,
                                               nullptr, 0, nullptr, nullptr);
    if (!is_known(filter)) {
      throw Error(ErrorKind::kData, fmt::format("{}: stored by an unknown filter, {}", where,
                                                static_cast<int>(filter)));
    }
    const bool again = filter == H5Z_FILTER_DEFLATE && most > 1;
    if (again) throw Error(ErrorKind::kData, fmt::format("{}: compressed twice", where));
    if (filter == H5Z_FILTER_DEFLATE) most = kMostDeflation;
  }
  return most;
}

// HDF5 allocates whole chunks.
void check_chunk(hid_t layout, std::size_t element, const std::string& where) {
  if (H5Pget_layout(layout) != H5D_CHUNKED) return;
  std::array<hsize_t, H5S_MAX_RANK> sizes{};
  const int rank = H5Pget_chunk(layout, H5S_MAX_RANK, sizes.data());
  hsize_t room = kMostChunkBytes / std::max<hsize_t>(element, 1);
  for (const hsize_t size : std::span(sizes).first(static_cast<std::size_t>(std::max(rank, 0)))) {
    if (size > room) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: chunks of more than {} bytes", where, kMostChunkBytes));
    }
    room /= std::max<hsize_t>(size, 1);
  }
}

// That the elements are in the file, that there are no more than it can hold, and that reading them
// runs no code but HDF5's own.
void check_storage(hid_t file, hid_t dataset, const std::string& where) {
  const Hdf5Handle layout = own(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_external_count(layout.get()) > 0 || H5Pget_layout(layout.get()) == H5D_VIRTUAL) {
    throw Error(ErrorKind::kData, fmt::format("{}: its elements are in other files", where));
  }
  const hsize_t most = most_bytes_per_byte(layout.get(), where);
  const Hdf5Handle type = own(H5Dget_type(dataset), H5Tclose);
  const Hdf5Handle space = own(H5Dget_space(dataset), H5Sclose);
  check_chunk(layout.get(), H5Tget_size(type.get()), where);
  hsize_t file_bytes = 0;
  H5Fget_filesize(file, &file_bytes);
  const auto elements = static_cast<hsize_t>(hdf5::extent(space.get()).numel());
  if (elements > file_bytes * most / std::max<hsize_t>(H5Tget_size(type.get()), 1)) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} elements are more than a file of {} bytes can hold", where,
                            elements, file_bytes));
  }
}

herr_t collect_dataset(hid_t, const char* name, const H5O_info_t* info, void* out) {
  auto& names = *static_cast<std::vector<std::string>*>(out);
  if (info->type == H5O_TYPE_DATASET) names.emplace_back(name);
  return names.size() > kMostDatasets ? -1 : 0;
}

}  // namespace

Hdf5File::Hdf5File(Hdf5Handle handle, std::string path, bool writable)
    : handle_(std::move(handle)), path_(std::move(path)), writable_(writable) {}

Hdf5File::~Hdf5File() {
  const Quiet quiet;
  if (handle_ && writable_ && H5Fflush(handle_.get(), H5F_SCOPE_LOCAL) < 0) {
    hdf5::abandon(handle_.get());
  }
}

Hdf5File Hdf5File::create(const std::string& path) {
  const Quiet quiet;
  const Hdf5Handle access = file_access();
  Hdf5Handle file =
      own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  if (!file) {
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be created: {}", path, reason()));
  }
  return Hdf5File(std::move(file), path, true);
}

Hdf5File Hdf5File::open(const std::string& path) {
  const Quiet quiet;
  if (::access(path.c_str(), R_OK) != 0) {
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  const Hdf5Handle access = file_access();
  Hdf5Handle file = own(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: not an HDF5 file, or not all of one: {}", path, reason()));
  }
  return Hdf5File(std::move(file), path, false);
}

void Hdf5File::write(const std::string& name, DType dtype, const Shape& shape, const void* values) {
  const Quiet quiet;
  std::array<hsize_t, Shape::kMaxRank> sizes{};
  std::transform(shape.dims().begin(), shape.dims().end(), sizes.begin(),
                 [](std::int64_t n) { return static_cast<hsize_t>(n); });
  const Hdf5Handle space =
      shape.rank() == 0 ? own(H5Screate(H5S_SCALAR), H5Sclose)
                        : own(H5Screate_simple(shape.rank(), sizes.data(), nullptr), H5Sclose);
  const Hdf5Handle layout = dataset_layout(chunk_of(shape, dtype));
  const Hdf5Handle stored = hdf5::file_type(dtype);
  const Hdf5Handle memory = hdf5::memory_type(dtype);
  const Hdf5Handle links = make_groups();
  Hdf5Handle data = own(H5Dcreate2(handle_.get(), name.c_str(), stored.get(), space.get(),
                                   links.get(), layout.get(), H5P_DEFAULT),
                        H5Dclose);
  bool ok = static_cast<bool>(data);
  if (ok && shape.numel() > 0) {
    ok = H5Dwrite(data.get(), memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
  }
  if (!ok || H5Dflush(data.get()) < 0) {
    const std::string why = reason();
    if (data) hdf5::abandon(data.get());
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be written: {}", place(path_, name), why));
  }
}

Hdf5Dataset Hdf5File::create_growing(const std::string& name, const GrowingLayout& layout) {
  const Quiet quiet;
  const hsize_t none = 0;
  const hsize_t unlimited = H5S_UNLIMITED;
  const Hdf5Handle space = own(H5Screate_simple(1, &none, &unlimited), H5Sclose);
  const Hdf5Handle properties = dataset_layout({layout.chunk_elements});
  const Hdf5Handle stored =
      layout.stored_as_u16 ? own(H5Tcopy(H5T_STD_U16LE), H5Tclose) : hdf5::file_type(layout.dtype);
  const Hdf5Handle links = make_groups();
  Hdf5Handle data = own(H5Dcreate2(handle_.get(), name.c_str(), stored.get(), space.get(),
                                   links.get(), properties.get(), H5P_DEFAULT),
                        H5Dclose);
  if (!data) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be created: {}", place(path_, name), reason()));
  }
  return Hdf5Dataset(std::move(data), place(path_, name));
}

bool Hdf5File::contains(const std::string& name) const {
  const Quiet quiet;
  if (!link_in(handle_.get(), name).empty()) return false;
  const Hdf5Handle data = own(H5Dopen2(handle_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
  return static_cast<bool>(data);
}

std::vector<std::string> Hdf5File::dataset_names() const {
  const Quiet quiet;
  std::vector<std::string> names;
  if (H5Ovisit2(handle_.get(), H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &names,
                H5O_INFO_BASIC) < 0) {
    throw Error(ErrorKind::kData, fmt::format("{}: cannot be listed: {}", path_, reason()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Hdf5Dataset Hdf5File::dataset(const std::string& name) const {
  const Quiet quiet;
  if (const std::string link = link_in(handle_.get(), name); !link.empty()) {
    throw Error(ErrorKind::kData, fmt::format("{}: '{}' is a link to another place",
                                              place(path_, name), printable_word(link)));
  }
  Hdf5Handle data = own(H5Dopen2(handle_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!data) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: cannot be opened: {}", place(path_, name), reason()));
  }
  check_storage(handle_.get(), data.get(), place(path_, name));
  return Hdf5Dataset(std::move(data), place(path_, name));
}

void Hdf5File::read(const std::string& name, DType dtype, const Shape& shape, void* out) const {
  const Hdf5Dataset data = dataset(name);
  if (data.dtype() != dtype || data.shape() != shape) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} {} asked for, {} {} found", place(path_, name), name_of(dtype),
                            to_string(shape), name_of(data.dtype()), to_string(data.shape())));
  }
  data.read(out);
}

void Hdf5File::flush() {
  const Quiet quiet;
  if (writable_ && H5Fflush(handle_.get(), H5F_SCOPE_LOCAL) < 0) {
    const std::string why = reason();
    hdf5::abandon(handle_.get());
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be written: {}", path_, why));
  }
}

void Hdf5File::close() {
  const Quiet quiet;
  flush();
  if (!handle_.reset()) {
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be closed: {}", path_, reason()));
  }
}

}  // namespace gradwire
