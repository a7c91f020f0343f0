#include "core/lanes.h"
#include "core/math.h"
#include "core/ops/attention/attention_kernels.h"

namespace gradwire::GW_ISA {
namespace {

// The score of what is not seen.
template <class C>
constexpr C kNothing = -static_cast<C>(__builtin_huge_val());

template <class C>
std::int64_t seen_by(const ScoreBlock<C>& b, std::int64_t row) {
  const std::int64_t seen = b.seen + row;
  return seen < 0 ? 0 : seen > b.cols ? b.cols : seen;
}

// Rows are worked on in whole vectors: what is not seen up to the next one scores minus infinity,
// which costs less than the scalar remainder of a loop that ends at `seen`.
template <class C>
std::int64_t mask_to_vector(C* s, std::int64_t seen, std::int64_t cols) {
  constexpr std::int64_t kVector = 16;
  const std::int64_t rounded = (seen + kVector - 1) / kVector * kVector;
  const std::int64_t end = rounded < cols ? rounded : cols;
  for (std::int64_t c = seen; c < end; ++c) {
    s[c] = kNothing<C>;
  }
  return end;
}

// The columns before the row's sample score minus infinity.
template <class C>
void mask_before(const ScoreBlock<C>& b, std::int64_t row, C* s, std::int64_t end) {
  if (b.starts == nullptr) return;
  const std::int64_t first = b.starts[row] - b.key;
  for (std::int64_t c = 0; c < (first < end ? first : end); ++c) {
    s[c] = kNothing<C>;
  }
}

template <class C>
void clear(C* s, std::int64_t begin, std::int64_t end) {
  for (std::int64_t c = begin; c < end; ++c) {
    s[c] = C(0);
  }
}

// What is taken out of scores, so that no exponential overflows. A row that sees nothing, or
// nothing yet, has no maximum; the exponentials of its scores, minus infinity, are zero without
// one.
template <class C>
GW_HD C origin_of(C most) {
  return math::select(most == kNothing<C>, C(0), most);
}

template <class C>
void softmax_step(const ScoreBlock<C>& b, C* row_max, C* row_sum, C* out, std::int64_t width) {
  for (std::int64_t r = 0; r < b.rows; ++r) {
    C* s = b.scores + r * b.cols;
    const std::int64_t end = mask_to_vector(s, seen_by(b, r), b.cols);
    mask_before(b, r, s, end);
    const C before = row_max[r];
    C now = before;
#pragma omp simd reduction(max : now)
    for (std::int64_t c = 0; c < end; ++c) {
      s[c] *= b.scale;
      now = s[c] > now ? s[c] : now;
    }
    const C origin = origin_of(now);
    const C sum = lane_sum<C>(end, [=](std::int64_t c) { return s[c] = math::exp(s[c] - origin); });
    clear(s, end, b.cols);
    const C shrink = math::exp(before - origin);
    row_max[r] = now;
    row_sum[r] = row_sum[r] * shrink + sum;
    if (out == nullptr || shrink == C(1)) continue;
    C* o = out + r * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      o[j] *= shrink;
    }
  }
}

// Probabilities are at most 1, whatever rounding does to huge scores.
template <class C>
GW_HD C probability(C log_p) {
  return math::exp(math::select(log_p > C(0), C(0), log_p));
}

template <class C>
void gradient_step(const ScoreBlock<C>& b, C* d_probs, const C* lse, const C* delta) {
  for (std::int64_t r = 0; r < b.rows; ++r) {
    C* s = b.scores + r * b.cols;
    C* d = d_probs + r * b.cols;
    const C row_lse = origin_of(lse[r]), row_delta = delta[r];
    const std::int64_t end = mask_to_vector(s, seen_by(b, r), b.cols);
    mask_before(b, r, s, end);
#pragma omp simd
    for (std::int64_t c = 0; c < end; ++c) {
      const C p = probability(b.scale * s[c] - row_lse);
      s[c] = p;
      d[c] = p * (d[c] - row_delta) * b.scale;
    }
    clear(s, end, b.cols);
    clear(d, end, b.cols);
  }
}

template <class T>
void normalise(const Compute<T>* out, const Compute<T>* row_sum, T* y, std::int64_t ld,
               std::int64_t rows, std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const C* from = out + r * width;
    T* to = y + r * ld;
    const C factor = row_sum[r] == C(0) ? C(0) : C(1) / row_sum[r];  // zero: the row saw nothing
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      to[j] = static_cast<T>(from[j] * factor);
    }
  }
}

template <class T>
void row_dots(const T* a, const T* b, std::int64_t ld, Compute<T>* dots, std::int64_t rows,
              std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* x = a + r * ld;
    const T* y = b + r * ld;
    dots[r] = lane_sum<C>(width, [=](std::int64_t j) { return load<T>(x, j) * load<T>(y, j); });
  }
}

}  // namespace

const AttentionKernels attention_kernels{{&softmax_step<float>, &gradient_step<float>},
                                         {&softmax_step<double>, &gradient_step<double>},
                                         &normalise<float>,
                                         &normalise<double>,
                                         &normalise<Bf16>,
                                         &row_dots<float>,
                                         &row_dots<double>,
                                         &row_dots<Bf16>};

}  // namespace gradwire::GW_ISA
