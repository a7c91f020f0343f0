#include <utility>

#include "core/ops/elementwise/elementwise_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class T, class F>
void map(void* y, const void* x, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    store<T>(y, i, F::f(load<T>(x, i)));
}

template <class T, class F>
void map_grad(void* dx, const void* x, const void* dy, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    store<T>(dx, i, F::df(load<T>(x, i)) * load<T>(dy, i));
  }
}

template <class T, class F>
void gated(void* y, const void* gate, const void* up, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    store<T>(y, i, F::f(load<T>(gate, i)) * load<T>(up, i));
  }
}

template <class T, class F>
void gated_grad(void* dgate, void* dup, const void* gate, const void* up, const void* dy,
                std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const Compute<T> g = load<T>(gate, i), d = load<T>(dy, i);
    store<T>(dgate, i, d * load<T>(up, i) * F::df(g));
    store<T>(dup, i, d * F::f(g));
  }
}

struct Sum {
  template <class C>
  static C of(C a, C b) {
    return a + b;
  }
};
struct Product {
  template <class C>
  static C of(C a, C b) {
    return a * b;
  }
};

template <class T, class F, bool kBIsOne>
void binary(void* y, const void* a, const void* b, std::int64_t n) {
  const Compute<T> first = load<T>(b, 0);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    store<T>(y, i, F::of(load<T>(a, i), kBIsOne ? first : load<T>(b, i)));
  }
}

template <class T>
void scaled(void* y, const void* x, double factor, std::int64_t n) {
  const Compute<T> f = static_cast<Compute<T>>(factor);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    store<T>(y, i, f * load<T>(x, i));
}

template <class T, Unary kFunction>
consteval void enter_unary(ElementwiseKernels& k, int type) {
  using F = UnaryFn<kFunction>;
  constexpr int kRow = static_cast<int>(kFunction);
  k.unary[kRow][type] = map<T, F>;
  k.unary_grad[kRow][type] = map_grad<T, F>;
  k.gated[kRow][type] = gated<T, F>;
  k.gated_grad[kRow][type] = gated_grad<T, F>;
}

template <class T, int... kRows>
consteval void enter_type(ElementwiseKernels& k, int type, std::integer_sequence<int, kRows...>) {
  (enter_unary<T, static_cast<Unary>(kRows)>(k, type), ...);
  k.add[0][type] = binary<T, Sum, false>;
  k.add[1][type] = binary<T, Sum, true>;
  k.mul[0][type] = binary<T, Product, false>;
  k.mul[1][type] = binary<T, Product, true>;
  k.scaled[type] = scaled<T>;
}

consteval ElementwiseKernels table() {
  constexpr auto kRows = std::make_integer_sequence<int, ElementwiseKernels::kUnaries>{};
  ElementwiseKernels k{};
  enter_type<float>(k, 0, kRows);
  enter_type<double>(k, 1, kRows);
  enter_type<Bf16>(k, 2, kRows);
  return k;
}

}  // namespace

const ElementwiseKernels elementwise_kernels = table();

}  // namespace gradwire::GW_ISA
