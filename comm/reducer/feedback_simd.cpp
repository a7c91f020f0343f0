#include "comm/codec/lanes.h"
#include "comm/reducer/feedback_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void contribution(const float* __restrict x, const float* __restrict momentum, float weight,
                  float beta, std::int64_t n, float* __restrict u) {
  if (momentum == nullptr) {
    for (std::int64_t i = 0; i < n; ++i)
      u[i] = weight * x[i];
    return;
  }
  const float part = (1.0F - beta) * weight;
  for (std::int64_t i = 0; i < n; ++i)
    u[i] = beta * momentum[i] + part * x[i];
}

void smooth(float b, std::int64_t n, float* __restrict v, float* __restrict u) {
  const float keep = 1.0F - b;
  for (std::int64_t i = 0; i < n; ++i) {
    v[i] = keep * v[i] + b * u[i];
    u[i] = v[i];
  }
}

void target(const FeedbackArrays& a, float eta, std::int64_t n, float* __restrict u,
            float* __restrict c) {
  const float* __restrict h = a.h;
  const float* __restrict e = a.e;
  if (e == nullptr) {
    for (std::int64_t i = 0; i < n; ++i)
      c[i] = u[i] = u[i] - h[i];
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    u[i] -= h[i];
    c[i] = u[i] + eta * e[i];
  }
}

void settle(const FeedbackArrays& a, const float* __restrict u, const float* __restrict d,
            std::int64_t n) {
  float* __restrict h = a.h;
  float* __restrict e = a.e;
  for (std::int64_t i = 0; i < n; ++i)
    h[i] += d[i];
  if (e == nullptr) return;
  for (std::int64_t i = 0; i < n; ++i)
    e[i] += u[i] - d[i];
}

// f(i) for each i below n whose bit in `live` is clear, until it gives true; gives what the last
// call did. As a rule all bits are set, and are passed over sixty-four at a time.
template <class F>
bool any_dead(const std::byte* live, std::int64_t n, const F& f) {
  const auto any_of = [&](std::int64_t first, std::uint64_t dead) {
    for (; dead != 0; dead &= dead - 1)
      if (f(first + __builtin_ctzll(dead))) return true;
    return false;
  };
  const std::int64_t whole = n / 64 * 64;
  for (std::int64_t i = 0; i < whole; i += 64)
    if (any_of(i, ~load_u64(live + i / 8))) return true;
  for (std::int64_t i = whole; i < n; i += 8) {
    const std::uint64_t present = n - i < 8 ? (1U << (n - i)) - 1U : 0xFFU;
    if (any_of(i, ~static_cast<std::uint64_t>(live[i / 8]) & present)) return true;
  }
  return false;
}

void zero_dead(const std::byte* live, std::int64_t n, float* x) {
  any_dead(live, n, [x](std::int64_t i) {
    x[i] = 0.0F;
    return false;
  });
}

bool wakes(const std::byte* live, std::int64_t n, float least, const float* x) {
  return any_dead(live, n, [=](std::int64_t i) { return __builtin_fabsf(x[i]) > least; });
}

bool find_news(const float* x, const std::byte* known, std::int64_t n, std::byte* news) {
  unsigned any = 0;
  for (std::int64_t b = 0; 8 * b < n; ++b) {
    unsigned touched = 0;
    const std::int64_t count = n - 8 * b < 8 ? n - 8 * b : 8;
    for (std::int64_t j = 0; j < count; ++j)
      touched |= static_cast<unsigned>(x[8 * b + j] != 0.0F) << j;
    const unsigned fresh = touched & ~static_cast<unsigned>(known[b]);
    news[b] = static_cast<std::byte>(fresh);
    any |= fresh;
  }
  return any != 0;
}

}  // namespace

const FeedbackKernels feedback_kernels{&contribution, &smooth, &target,   &settle,
                                       &zero_dead,    &wakes,  &find_news};

}  // namespace gradwire::GW_ISA
