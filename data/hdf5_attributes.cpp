#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "data/hdf5_types.h"

namespace gradwire {

using hdf5::own;
using hdf5::Quiet;

namespace {

struct Place {
  std::int64_t file;
  const std::string& path;
  const std::string& name;
  Error error(ErrorKind kind, const std::string& what) const {
    return Error(kind, fmt::format("{}: attribute '{}': {}", path, name, what));
  }
};

void write_attribute(const Place& at, const Hdf5Handle& type, const void* value) {
  const Hdf5Handle space = own(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Handle attribute =
      own(H5Acreate2(at.file, at.name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
          H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), type.get(), value) < 0) {
    throw at.error(ErrorKind::kIo, "cannot be written: " + hdf5::reason());
  }
}

// One value of this class (integer, float or fixed-length string).
Hdf5Handle open_attribute(const Place& at, H5T_class_t wanted, const char* wanted_name) {
  Hdf5Handle attribute = own(H5Aopen(at.file, at.name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute) throw at.error(ErrorKind::kData, "missing");
  const Hdf5Handle type = own(H5Aget_type(attribute.get()), H5Tclose);
  const Hdf5Handle space = own(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Tget_class(type.get()) != wanted || H5Sget_simple_extent_npoints(space.get()) != 1 ||
      H5Tis_variable_str(type.get()) > 0) {
    throw at.error(ErrorKind::kData, fmt::format("not {}", wanted_name));
  }
  return attribute;
}

void read_attribute(const Place& at, const Hdf5Handle& attribute, const Hdf5Handle& type,
                    void* out) {
  if (H5Aread(attribute.get(), type.get(), out) < 0) {
    throw at.error(ErrorKind::kData, "cannot be read: " + hdf5::reason());
  }
}

}  // namespace

void Hdf5File::set_attribute(const std::string& name, std::int64_t value) {
  const Quiet quiet;
  write_attribute({handle_.get(), path_, name}, hdf5::file_type(DType::kI64), &value);
}

void Hdf5File::set_attribute(const std::string& name, double value) {
  const Quiet quiet;
  write_attribute({handle_.get(), path_, name}, hdf5::file_type(DType::kF64), &value);
}

void Hdf5File::set_attribute(const std::string& name, const std::string& value) {
  const Quiet quiet;
  const Hdf5Handle type = own(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), value.size() + 1);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  write_attribute({handle_.get(), path_, name}, type, value.c_str());
}

bool Hdf5File::has_attribute(const std::string& name) const {
  const Quiet quiet;
  return H5Aexists(handle_.get(), name.c_str()) > 0;
}

std::int64_t Hdf5File::int_attribute(const std::string& name) const {
  const Quiet quiet;
  const Place at{handle_.get(), path_, name};
  std::int64_t value = 0;
  read_attribute(at, open_attribute(at, H5T_INTEGER, "one integer"), hdf5::memory_type(DType::kI64),
                 &value);
  return value;
}

double Hdf5File::double_attribute(const std::string& name) const {
  const Quiet quiet;
  const Place at{handle_.get(), path_, name};
  double value = 0;
  read_attribute(at, open_attribute(at, H5T_FLOAT, "one float"), hdf5::memory_type(DType::kF64),
                 &value);
  return value;
}

std::string Hdf5File::string_attribute(const std::string& name) const {
  const Quiet quiet;
  const Place at{handle_.get(), path_, name};
  const Hdf5Handle attribute = open_attribute(at, H5T_STRING, "one string of fixed length");
  const Hdf5Handle type = own(H5Aget_type(attribute.get()), H5Tclose);
  constexpr std::size_t kMost = std::size_t{1} << 20;
  const std::size_t size = H5Tget_size(type.get());
  if (size > kMost) {
    throw at.error(ErrorKind::kData, fmt::format("a string of {} bytes; at most {}", size, kMost));
  }
  std::string value(size, '\0');
  read_attribute(at, attribute, type, value.data());
  value.resize(std::min(value.size(), value.find('\0')));
  return value;
}

}  // namespace gradwire
