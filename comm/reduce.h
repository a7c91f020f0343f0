// The one way in which values of several ranks become one: element by element, in the order of the
// ranks, in the compute type (bf16 in f32), rounded once. Every transport of the host and every
// reducer uses it, which is what makes their results equal bit for bit. No communication here.
#pragma once

#include <cstdint>
#include <span>

#include "comm/communicator.h"
#include "core/device.h"

namespace gradwire {

const char* name_of(ReduceOp op);
// False only for the mean of integers and the bitwise OR of floats.
bool reducible(DType dtype, ReduceOp op);
// dst[i] = srcs[0][i] op srcs[1][i] op ..., n elements of host memory; dst may be one of the
// sources. Errors: kShape unless reducible().
void reduce_in_rank_order(DType dtype, ReduceOp op, void* dst, std::span<const void* const> srcs,
                          std::int64_t n);

}  // namespace gradwire
