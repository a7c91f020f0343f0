#include "comm/reducer/orthonormal.h"

#include <algorithm>
#include <cmath>

#include "comm/reducer/low_rank_kernels.h"

namespace gradwire {
namespace {

// What is left of a row beside those before it, if it is less than this part of the row, is what
// rounding has put there.
constexpr double kSmallest = 1e-6;

std::int64_t padded(std::int64_t n) {
  constexpr std::int64_t kUnit = LowRankKernels::kDoubles;
  return (n + kUnit - 1) / kUnit * kUnit;
}

}  // namespace

std::int64_t orthonormal_room(std::int64_t rows, std::int64_t n) {
  return rows * padded(n);
}

bool orthonormalize_rows(float* x, std::int64_t rows, std::int64_t n, double* room,
                         std::uint8_t* dependent) {
  const LowRankKernels& loops = low_rank_kernels();
  const std::int64_t stride = padded(n);
  for (std::int64_t i = 0; i < rows; ++i) {
    double* const row = room + i * stride;
    std::fill_n(std::copy_n(x + i * n, n, row), stride - n, 0.0);
    const double before = loops.dot(row, row, stride);
    if (!std::isfinite(before)) return false;
    // The first pass leaves rounding errors of what it takes away, which the second removes.
    for (int pass = 0; pass < 2; ++pass)
      for (std::int64_t j = 0; j < i; ++j) {
        const double* const other = room + j * stride;
        loops.subtract(loops.dot(row, other, stride), other, stride, row);
      }
    const double after = loops.dot(row, row, stride);
    dependent[i] = after > kSmallest * kSmallest * before ? 0 : 1;
    const double scale = dependent[i] != 0 ? 0.0 : 1.0 / std::sqrt(after);
    for (std::int64_t j = 0; j < n; ++j) {
      row[j] *= scale;
      x[i * n + j] = static_cast<float>(row[j]);
    }
  }
  return true;
}

}  // namespace gradwire
