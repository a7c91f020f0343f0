// Loops behind the embedding: rows by index. The element loops are those of the tensor functions.
#pragma once

#include "core/device.h"

namespace gradwire {

class Tensor;
struct Context;

namespace cpu {
// y[n] = table[ids[n]]; table [V, D], y [N, D], any float types.
void embedding(const Tensor& y, const Tensor& table, const Tensor& ids);
// dtable[ids[n]] += dy[n], in the order of n; dy [N, D].
void embedding_grad(const Tensor& dtable, const Tensor& dy, const Tensor& ids);
}  // namespace cpu

// The same on a stream. The gradient adds up the terms of a row in a fixed order, but in parts.
namespace cuda {
void embedding(Stream s, const Tensor& y, const Tensor& table, const Tensor& ids);
void embedding_grad(Context& cx, const Tensor& dtable, const Tensor& dy, const Tensor& ids);
}  // namespace cuda

}  // namespace gradwire
