// The weight of a linear layer as its products read it.
#pragma once

#include <memory>

#include "core/ops/linear/gemm.h"
#include "core/tape.h"

namespace gradwire {

struct WeightOperand {
  GemmOperand operand;
  std::shared_ptr<const void> owner;  // keeps the operand's memory
};

// w [N, K] as the second operand of y = x w^T (transposed) or of dx = dy w. For bf16 x an f32
// weight is rounded to bf16; a parameter (p, else null) keeps that copy until its value changes.
WeightOperand weight_operand(Context& cx, DType x, const Tensor& w, Parameter* p, bool transposed);

}  // namespace gradwire
