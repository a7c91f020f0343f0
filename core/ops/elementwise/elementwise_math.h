// Mathematics of the unary operations, written once: f(x) and its derivative df(x) as functors over
// float or double, instantiated by the CPU loops, the CUDA kernels and the fused gated operation.
// Every value is finite if the exact one is; NaN stays NaN. No loops, no storage types here.
#pragma once

#include "core/hd.h"
#include "core/math.h"
#include "core/ops/elementwise/unary.h"

namespace gradwire {

template <class T>
GW_HD T sigmoid_of(T x) {
  return T(1) / (T(1) + math::exp(-x));
}

template <Unary>
struct UnaryFn;

template <>
struct UnaryFn<Unary::kSilu> {  // x sigmoid(x) (Elfwing et al., 2018)
  template <class T>
  GW_HD static T f(T x) {
    return x * sigmoid_of(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    const T s = sigmoid_of(x);
    return s * (T(1) + x * (T(1) - s));
  }
};

template <>
struct UnaryFn<Unary::kGelu> {  // x Phi(x) (Hendrycks and Gimpel, 2016)
  template <class T>
  GW_HD static T cdf(T x) {
    return T(0.5) * (T(1) + math::erf(x * T(0.70710678118654752440)));
  }
  template <class T>
  GW_HD static T f(T x) {
    return x * cdf(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    const T density = T(0.39894228040143267794) * math::exp(T(-0.5) * x * x);
    return cdf(x) + x * density;
  }
};

template <>
struct UnaryFn<Unary::kGeluTanh> {  // GELU's tanh form, as x sigmoid(2u), u = sqrt(2/pi)(x + c x^3)
  // x^2, held at a place where the gate is 0 or 1 to the last bit of a double: no cube overflows.
  template <class T>
  GW_HD static T square(T x) {
    constexpr T kFlat = T(100);
    const T s = x * x;
    return s < kFlat ? s : kFlat;
  }
  template <class T>
  GW_HD static T gate(T x) {
    return sigmoid_of(T(1.59576912160573071176) * x * (T(1) + T(0.044715) * square(x)));
  }
  template <class T>
  GW_HD static T f(T x) {
    return x * gate(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    const T s = gate(x);
    const T slope = T(1.59576912160573071176) * (T(1) + T(0.134145) * square(x));
    return s + x * s * (T(1) - s) * slope;
  }
};

template <>
struct UnaryFn<Unary::kRelu> {
  template <class T>
  GW_HD static T f(T x) {
    return x < T(0) ? T(0) : x;
  }
  template <class T>
  GW_HD static T df(T x) {
    return x > T(0) ? T(1) : T(0);
  }
};

template <>
struct UnaryFn<Unary::kTanh> {
  template <class T>
  GW_HD static T f(T x) {
    return math::tanh(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    const T t = math::tanh(x);
    return T(1) - t * t;
  }
};

template <>
struct UnaryFn<Unary::kSigmoid> {
  template <class T>
  GW_HD static T f(T x) {
    return sigmoid_of(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    const T s = sigmoid_of(x);
    return s * (T(1) - s);
  }
};

template <>
struct UnaryFn<Unary::kExp> {
  template <class T>
  GW_HD static T f(T x) {
    return math::exp(x);
  }
  template <class T>
  GW_HD static T df(T x) {
    return math::exp(x);
  }
};

template <>
struct UnaryFn<Unary::kSquare> {
  template <class T>
  GW_HD static T f(T x) {
    return x * x;
  }
  template <class T>
  GW_HD static T df(T x) {
    return T(2) * x;
  }
};

}  // namespace gradwire
