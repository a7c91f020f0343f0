#include "comm/reduce.h"

#include <fmt/format.h>

#include "comm/combine_kernels.h"
#include "core/error.h"

namespace gradwire {
namespace {

const CombineKernels::Row& row_of(ReduceOp op) {
  const CombineKernels& kernels = combine_kernels();
  switch (op) {
    case ReduceOp::kMean: return kernels.mean;
    case ReduceOp::kMax: return kernels.max;
    case ReduceOp::kMin: return kernels.min;
    case ReduceOp::kOr: return kernels.bitwise_or;
    case ReduceOp::kSum: break;
  }
  return kernels.sum;
}

}  // namespace

const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return "sum";
    case ReduceOp::kMean: return "mean";
    case ReduceOp::kMax: return "max";
    case ReduceOp::kMin: return "min";
    case ReduceOp::kOr: return "bitwise or";
  }
  return "?";
}

bool reducible(DType dtype, ReduceOp op) {
  return row_of(op).of[static_cast<std::size_t>(dtype)] != nullptr;
}

void reduce_in_rank_order(DType dtype, ReduceOp op, void* dst, std::span<const void* const> srcs,
                          std::int64_t n) {
  if (!reducible(dtype, op)) {
    throw Error(ErrorKind::kShape, fmt::format("reduce: no {} of {}", name_of(op), name_of(dtype)));
  }
  row_of(op).of[static_cast<std::size_t>(dtype)](dst, srcs.data(), static_cast<int>(srcs.size()),
                                                 n);
}

}  // namespace gradwire
