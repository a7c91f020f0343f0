#include "core/ops/linear/linear.h"

#include <functional>
#include <utility>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/linear/gemm.h"
#include "core/ops/linear/linear_kernels.h"
#include "core/ops/linear/linear_weight.h"
#include "core/ops/operands.h"
#include "core/ops/reduce/reduce.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

void check_shapes(const Tensor& x, const Tensor& w, const Tensor& b) {
  if (x.rank() < 1 || w.rank() != 2 || w.numel() == 0 || x.dim(-1) != w.dim(1)) {
    throw Error(ErrorKind::kShape,
                fmt::format("linear: inner dimensions differ: {} x {} transposed",
                            to_string(x.shape()), to_string(w.shape())));
  }
  const bool mixed = x.dtype() == DType::kBf16 && w.dtype() == DType::kF32;
  if (!is_float(x.dtype()) || (x.dtype() != w.dtype() && !mixed)) {
    throw Error(ErrorKind::kShape, fmt::format("linear: x is {}, the weight {}", name_of(x.dtype()),
                                               name_of(w.dtype())));
  }
  if (!b) return;
  if (b.shape() != Shape{w.dim(0)}) {
    throw Error(ErrorKind::kShape, fmt::format("linear: a bias of {} for a weight of {}",
                                               to_string(b.shape()), to_string(w.shape())));
  }
  const DType wanted = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  if (b.dtype() != wanted) {
    throw Error(ErrorKind::kShape,
                fmt::format("linear: a bias of {} for x of {}, which takes {}", name_of(b.dtype()),
                            name_of(x.dtype()), name_of(wanted)));
  }
}

GemmOperand operand(const Tensor& t, bool transposed) {
  return {t.raw(), t.dim(-1), transposed, t.dtype()};
}

// c = op(a) op(b), c being a matrix of n columns.
Gemm product(GemmOperand a, GemmOperand b, const Tensor& c, std::int64_t k) {
  Gemm g;
  g.m = c.dim(0);
  g.n = c.dim(1);
  g.k = k;
  g.a = a;
  g.b = b;
  g.c = c.raw();
  g.ldc = c.dim(1);
  g.c_dtype = c.dtype();
  return g;
}

void bias_gradient(Context& cx, const Tensor& dy, const Tensor& db, float beta) {
  on_device(
      cx.stream.device,
      [&](Device) {
        const LinearKernels& kernels = linear_kernels();
        const std::int64_t rows = dy.dim(0), cols = dy.dim(1);
        parallel_for(cols, 64, [&](std::int64_t begin, std::int64_t end) {
          if (dy.dtype() == DType::kF64) {
            kernels.column_sums_f64(dy.data<double>(), rows, cols, beta, db.data<double>(), begin,
                                    end);
          } else if (dy.dtype() == DType::kF32) {
            kernels.column_sums_f32(dy.data<float>(), rows, cols, beta, db.data<float>(), begin,
                                    end);
          } else {
            kernels.column_sums_bf16(dy.data<Bf16>(), rows, cols, beta, db.data<float>(), begin,
                                     end);
          }
        });
      },
      [&](auto) {
        sum_axis(cx, db, dy, {1, dy.dim(0), dy.dim(1)}, beta);
      });
}

// Hands the gradient of v to `write`: the parameter's own buffer, now or later, or a new tensor of
// this type.
void give_gradient(Context& cx, Tape& tape, Var v, const Shape& shape, DType dtype,
                   Tape::WriteGradLater write) {
  if (!tape.needs_grad(v)) return;
  if (tape.parameter(v) != nullptr) return tape.accumulate_later(cx, v, std::move(write));
  const Tensor grad = Tensor::empty(cx, shape, dtype);
  write(cx, grad, 0.0F);
  tape.accumulate(cx, v, grad);
}

struct Saved {
  Var x, w, b;
  Tensor x_value;  // empty if the weight is frozen
  Tensor w_value;  // empty if x needs no gradient, or if the weight is a parameter
  Parameter* param = nullptr;
  Shape x_shape, w_shape;
  DType w_dtype = DType::kF32;
};

void backward(Context& cx, Tape& tape, const Saved& s, const Tensor& dy) {
  const std::int64_t n = s.w_shape[0], k = s.w_shape[1];
  const Tensor dy_rows = dy.view({dy.numel() / n, n});
  if (tape.needs_grad(s.x)) {
    const Tensor& w = s.param != nullptr ? s.param->value : s.w_value;
    const WeightOperand read = weight_operand(cx, dy.dtype(), w, s.param, false);
    const Tensor dx = Tensor::empty(cx, s.x_shape, dy.dtype());
    gemm(cx, product(operand(dy_rows, false), read.operand, dx.view({dy_rows.dim(0), k}), n));
    tape.accumulate(cx, s.x, dx);
  }
  const auto weight = [x = s.x_value, dy_rows, k](Context& c, const Tensor& dw, float beta) {
    const Tensor x_rows = x.view({dy_rows.dim(0), k});
    Gemm g = product(operand(dy_rows, true), operand(x_rows, false), dw, dy_rows.dim(0));
    g.accumulate = beta != 0.0F;
    gemm(c, g);
  };
  give_gradient(cx, tape, s.w, s.w_shape, s.w_dtype, weight);
  const DType db_type = dy.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  give_gradient(cx, tape, s.b, {n}, db_type, [dy_rows](Context& c, const Tensor& db, float beta) {
    bias_gradient(c, dy_rows, db, beta);
  });
}

}  // namespace

Var linear(Context& cx, Tape& tape, Var x, Var w, Var b) {
  const Tensor xv = tape.value(x), wv = tape.value(w), bv = b ? tape.value(b) : Tensor{};
  check_devices(cx, "linear", xv, wv, bv);
  check_shapes(xv, wv, bv);
  const std::int64_t n = wv.dim(0), k = wv.dim(1);
  const Tensor y = Tensor::empty(cx, xv.shape().with(xv.rank() - 1, n), xv.dtype());
  const WeightOperand read = weight_operand(cx, xv.dtype(), wv, tape.parameter(w), true);
  Gemm g = product(operand(xv, false), read.operand, y.view({xv.numel() / k, n}), k);
  g.bias = b ? bv.raw() : nullptr;
  gemm(cx, g);
  if (!tape.wants_grad({x, w, b})) return tape.record(y, {x, w, b}, {});
  Saved s{x, w, b, {}, {}, tape.parameter(w), xv.shape(), wv.shape(), wv.dtype()};
  if (tape.needs_grad(w)) s.x_value = xv;
  if (tape.needs_grad(x) && s.param == nullptr) s.w_value = wv;
  return tape.record(y, {x, w, b}, [s = std::move(s)](Context& c, Tape& t, const Tensor& dy) {
    backward(c, t, s, dy);
  });
}

}  // namespace gradwire
