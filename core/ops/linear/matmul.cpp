#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/ops/linear/gemm.h"
#include "core/ops/linear/linear.h"
#include "core/ops/operands.h"

namespace gradwire {
namespace {

// The product of all dimensions but the last ones.
std::int64_t leading(const Shape& s, int last) {
  std::int64_t n = 1;
  for (int i = 0; i + last < s.rank(); ++i) {
    n *= s[i];
  }
  return n;
}

// A stack of matrices [.., R, C], each taken as it is stored or as its transpose. One of rank 2
// serves every product of a batch.
struct Stack {
  Tensor t;
  bool transposed = false;

  std::int64_t rows() const { return t.dim(transposed ? -1 : -2); }
  std::int64_t cols() const { return t.dim(transposed ? -2 : -1); }
  std::int64_t size() const { return leading(t.shape(), 2); }
  Stack flipped() const { return {t, !transposed}; }
  Stack one(std::int64_t i) const {
    return {t.view({size(), t.dim(-2), t.dim(-1)}).slice(i, i + 1).view({t.dim(-2), t.dim(-1)}),
            transposed};
  }
  GemmOperand operand() const {
    return {t.raw(), t.dim(-1), transposed, t.dtype(), t.rank() == 2 ? 0 : rows() * cols()};
  }
};

void multiply(Context& cx, const Stack& a, const Stack& b, const Tensor& c, bool add = false) {
  Gemm g;
  g.batch = Stack{c}.size();
  g.m = a.rows();
  g.n = b.cols();
  g.k = a.cols();
  g.a = a.operand();
  g.b = b.operand();
  g.c = c.raw();
  g.ldc = g.n;
  g.c_dtype = c.dtype();
  g.c_batch_stride = g.m * g.n;
  g.accumulate = add;
  gemm(cx, g);
}

[[noreturn]] void refuse(const char* why, const Stack& a, const Stack& b) {
  throw Error(ErrorKind::kShape,
              fmt::format("matmul: {}: {}{} x {}{}", why, to_string(a.t.shape()),
                          a.transposed ? " transposed" : "", to_string(b.t.shape()),
                          b.transposed ? " transposed" : ""));
}

Shape result_shape(const Stack& a, const Stack& b) {
  const Shape& sa = a.t.shape();
  const Shape& sb = b.t.shape();
  if (sa.rank() < 2 || sb.rank() < 2) refuse("operands have two dimensions or more", a, b);
  if (a.t.dtype() != b.t.dtype() || !is_float(a.t.dtype())) {
    throw Error(ErrorKind::kShape,
                fmt::format("matmul: a is {}, b {}", name_of(a.t.dtype()), name_of(b.t.dtype())));
  }
  if (a.cols() != b.rows()) refuse("inner dimensions differ", a, b);
  const int lead = sa.rank() - 2;
  if (sb.rank() != 2 && sb.with(-2, sa[-2]).with(-1, sa[-1]) != sa) {
    refuse("leading dimensions differ", a, b);
  }
  return sa.with(lead, a.rows()).with(lead + 1, b.cols());
}

// dA = dy B^T, or its transpose B dy^T if a is stored transposed.
Tensor gradient_of_a(Context& cx, const Shape& shape, bool transposed, const Stack& b,
                     const Stack& dy) {
  const Tensor da = Tensor::empty(cx, shape, dy.t.dtype());
  if (transposed) {
    multiply(cx, b, dy.flipped(), da);
  } else {
    multiply(cx, dy, b.flipped(), da);
  }
  return da;
}

// dB = A^T dy, or its transpose dy^T A if b is stored transposed; the sum of all of them, made
// in f32 at least, if one matrix served the whole batch.
Tensor gradient_of_b(Context& cx, const Stack& a, const Shape& shape, bool transposed,
                     const Stack& dy) {
  const Stack left = transposed ? dy.flipped() : a.flipped();
  const Stack right = transposed ? a : dy;
  if (shape.rank() == dy.t.rank()) {
    const Tensor db = Tensor::empty(cx, shape, dy.t.dtype());
    multiply(cx, left, right, db);
    return db;
  }
  const bool narrow = dy.t.dtype() == DType::kBf16;
  const Tensor sum = Tensor::zeros(cx, shape, narrow ? DType::kF32 : dy.t.dtype());
  for (std::int64_t i = 0; i < dy.size(); ++i) {
    multiply(cx, left.one(i), right.one(i), sum, true);
  }
  return cast(cx, sum, dy.t.dtype());
}

// A batch that shares b is one product of more rows.
Tensor fold(bool folds, const Tensor& t) {
  return folds ? t.view({leading(t.shape(), 1), t.dim(-1)}) : t;
}

}  // namespace

Var matmul(Context& cx, Tape& tape, Var a, Var b, MatmulOptions options) {
  const Stack av{tape.value(a), options.transpose_a}, bv{tape.value(b), options.transpose_b};
  check_devices(cx, "matmul", av.t, bv.t);
  const Tensor y = Tensor::empty(cx, result_shape(av, bv), av.t.dtype());
  const bool folds = bv.t.rank() == 2 && !av.transposed;
  const Tensor left = fold(folds, av.t);
  multiply(cx, {left, av.transposed}, bv, fold(folds, y));
  if (!tape.wants_grad({a, b})) return tape.record(y, {a, b}, {});
  const Shape a_shape = av.t.shape(), left_shape = left.shape(), b_shape = bv.t.shape();
  // Each gradient needs the other operand only.
  const Tensor saved_a = tape.needs_grad(b) ? left : Tensor{};
  const Tensor saved_b = tape.needs_grad(a) ? bv.t : Tensor{};
  return tape.record(y, {a, b}, [=](Context& c, Tape& t, const Tensor& dy) {
    const Stack dys{fold(folds, dy)};
    if (t.needs_grad(a)) {
      const Stack other{saved_b, options.transpose_b};
      t.accumulate(c, a,
                   gradient_of_a(c, left_shape, options.transpose_a, other, dys).view(a_shape));
    }
    if (t.needs_grad(b)) {
      const Stack other{saved_a, options.transpose_a};
      t.accumulate(c, b, gradient_of_b(c, other, b_shape, options.transpose_b, dys));
    }
  });
}

}  // namespace gradwire
