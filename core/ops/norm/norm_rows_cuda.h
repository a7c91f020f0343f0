// Normalisations that keep a row in registers, so that forward reads x once, and backward reads x
// and dy once for the gradients of x and of the weights together.
#pragma once

#include "core/device.h"
#include "core/ops/norm/norm_kernels.h"

namespace gradwire::cuda {

// Each returns false, having done nothing, if rows are too wide, no whole number of packs of 16
// bytes, or not so aligned. Arguments as those of norm_forward() and norm_backward().
bool norm_rows_forward(Stream s, DType type, const NormForward& a, std::int64_t rows);
bool norm_rows_backward(Stream s, DType type, const NormBackward& a, std::int64_t rows,
                        const Tensor& dweights, const Tensor& dbiases);

}  // namespace gradwire::cuda
