// Loops that move elements. They see bytes, so that any element type goes through the same ones.
#pragma once

#include <cstdint>

#include "core/device.h"

namespace gradwire {

// `count` blocks of `bytes` each, their starts `to_stride` and `from_stride` bytes apart.
struct BlockCopy {
  void* to;
  const void* from;
  std::int64_t count, bytes, to_stride, from_stride;
};

// in [outer, a, middle, b, inner] -> out [outer, b, middle, a, inner], elements of `size` bytes.
struct Transpose {
  void* out;
  const void* in;
  std::int64_t outer, a, middle, b, inner, size;
};

namespace cpu {
void copy_blocks(const BlockCopy& c);
void transpose(const Transpose& t);
}  // namespace cpu

// The same on a stream.
namespace cuda {
void copy_blocks(Stream s, const BlockCopy& c);
void transpose(Stream s, const Transpose& t);
}  // namespace cuda

}  // namespace gradwire
