// The only door to HDF5: a file, its datasets and its root attributes, with errors that name the
// file and the dataset. Every dataset is chunked under the fletcher32 checksum, so that a flipped
// bit fails the read. A file is created fresh or opened read-only, never updated in place, and
// never printed about: HDF5's own error stack is turned into Error. Not for use of one object from
// several threads. It knows nothing of temporary names and renames (core/file.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace gradwire {

// An HDF5 identifier, closed at the end of its life. Errors on that way out are lost: if they
// matter (writing), Hdf5File::close() or flush() comes first.
class Hdf5Handle {
 public:
  using Closer = int (*)(std::int64_t);
  Hdf5Handle() = default;
  Hdf5Handle(std::int64_t id, Closer closer) : id_(id), closer_(closer) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept;
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;

  std::int64_t get() const noexcept { return id_; }
  explicit operator bool() const noexcept { return id_ >= 0; }
  bool reset() noexcept;  // false if HDF5 refused to close it

 private:
  std::int64_t id_ = -1;
  Closer closer_ = nullptr;
};

// One open dataset, with a chunk cache of its own; must not outlive its file.
// bf16 is stored as a 16-bit float type of its own. Integers written by others are read as the
// smallest element type that holds them (u16 as i32, u32 as i64).
class Hdf5Dataset {
 public:
  ~Hdf5Dataset();
  Hdf5Dataset(Hdf5Dataset&&) noexcept = default;
  Hdf5Dataset& operator=(Hdf5Dataset&&) = delete;

  const Shape& shape() const noexcept { return shape_; }
  DType dtype() const noexcept { return dtype_; }
  std::int64_t rows() const noexcept { return shape_.rank() == 0 ? 1 : shape_[0]; }

  // All elements, in the dataset's element type. Errors: kData.
  void read(void* out) const;
  // Rows [begin, begin + count) of the first dimension. Errors: kUsage outside the dataset; kData.
  void read_rows(std::int64_t begin, std::int64_t count, void* out) const;
  // Adds `count` elements at the end of a growing dataset. Errors: kIo.
  void append(std::int64_t count, const void* values);

 private:
  friend class Hdf5File;
  Hdf5Dataset(Hdf5Handle handle, std::string where);

  Hdf5Handle handle_;
  std::string where_;  // "file: dataset 'name'"
  Shape shape_;
  DType dtype_ = DType::kF32;
  bool appended_ = false;
};

// How a one-dimensional dataset that grows is laid out.
struct GrowingLayout {
  DType dtype = DType::kI32;  // of the values handed over
  std::int64_t chunk_elements = 1 << 16;
  bool stored_as_u16 = false;  // the values are known to fit in 16 bits without a sign
};

class Hdf5File {
 public:
  // A new file; one that is there is overwritten. Errors: kIo.
  static Hdf5File create(const std::string& path);
  // For reading. Errors: kIo if there is no such file, kData if it is not a whole HDF5 file.
  static Hdf5File open(const std::string& path);

  // If close() was not called, the destructor closes and errors are lost.
  ~Hdf5File();
  Hdf5File(Hdf5File&&) noexcept = default;
  Hdf5File& operator=(Hdf5File&&) = delete;

  const std::string& path() const noexcept { return path_; }

  // A whole dataset. '/' in a name makes groups. Errors: kIo, also if the name is taken.
  void write(const std::string& name, DType dtype, const Shape& shape, const void* values);
  Hdf5Dataset create_growing(const std::string& name, const GrowingLayout& layout);

  bool contains(const std::string& name) const;
  std::vector<std::string> dataset_names() const;  // with their groups, sorted
  // Errors: kData if there is no such dataset, if its element type is unknown, or if what it names
  // is not in this file: behind a soft or external link, in external or virtual storage. Also if it
  // has more elements than a file of this size can hold, or chunks of more than 64 MiB, so that
  // memory for all of a dataset may be taken.
  Hdf5Dataset dataset(const std::string& name) const;
  Shape shape(const std::string& name) const { return dataset(name).shape(); }
  DType dtype(const std::string& name) const { return dataset(name).dtype(); }
  // All elements of a dataset that must have this type and shape. Errors: kData.
  void read(const std::string& name, DType dtype, const Shape& shape, void* out) const;

  // Attributes of the file. Errors: kIo writing; kData if one is missing or of another kind.
  void set_attribute(const std::string& name, std::int64_t value);
  void set_attribute(const std::string& name, double value);
  void set_attribute(const std::string& name, const std::string& value);
  bool has_attribute(const std::string& name) const;
  std::int64_t int_attribute(const std::string& name) const;
  double double_attribute(const std::string& name) const;
  std::string string_attribute(const std::string& name) const;

  // Hands everything to the operating system (no fsync). Errors: kIo, for example if the disk is
  // full.
  void flush();
  // flush() and close: after it only path() may be called.
  void close();

 private:
  Hdf5File(Hdf5Handle handle, std::string path, bool writable);

  Hdf5Handle handle_;
  std::string path_;
  bool writable_ = false;
};

}  // namespace gradwire
