// Inside data/hdf5*.cpp only: HDF5's types and its error stack, in Gradwire's terms.
#pragma once

#include <string>

#include <hdf5.h>

#include "data/hdf5.h"

namespace gradwire::hdf5 {

// HDF5 prints no errors while one of these lives. Its setting is per thread, so every public
// function of data/hdf5.h opens with one.
class Quiet {
 public:
  Quiet();
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  H5E_auto2_t printer_ = nullptr;
  void* printer_data_ = nullptr;
};

// The innermost reason of the last failure, as HDF5 words it.
std::string reason();

Hdf5Handle own(hid_t id, herr_t (*closer)(hid_t));
// The type of a value in memory, and in the file: the same but for the byte order, which is little.
Hdf5Handle memory_type(DType dtype);
Hdf5Handle file_type(DType dtype);
// The element type that holds every value of a file's type; false if there is none.
bool element_type(hid_t file_type, DType& dtype);

Shape extent(hid_t space);

// Called at the first write that failed. HDF5 cannot let go of a file that it cannot finish writing
// (1.10 even crashes closing its datasets), so from here on what it writes to the file of this
// object goes nowhere. The file on disk stays as it is: unfinished.
void abandon(hid_t object) noexcept;

}  // namespace gradwire::hdf5
