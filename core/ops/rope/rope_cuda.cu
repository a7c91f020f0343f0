#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/rope/rope.h"
#include "core/ops/rope/rope_kernels.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

// Heads that a thread turns by the angles it has read.
constexpr int kHeads = 4;

// Element i of the table is the angle of position i / half and pair i % half. The angle is made in
// double: in float it would lose its last digits at large positions. Its step is the host's, so
// that both devices turn by the same angle: positions multiply what two functions differ by.
template <class C>
struct FillTable {
  C* cosine;
  C* sine;
  std::int64_t half;
  const double* step;  // [half]
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const std::int64_t position = i / half, j = i - position * half;
    double s = 0.0, c = 0.0;
    sincos(static_cast<double>(position) * step[j], &s, &c);
    cosine[i] = static_cast<C>(c);
    sine[i] = static_cast<C>(s);
  }
};

// Cosines and sines [2, position, half], one table per (theta, half), made anew for more positions
// than it has.
template <class C>
class Tables {
 public:
  const Tensor& get(Context& cx, double theta, std::int64_t half, std::int64_t positions) {
    Tensor& table = tables_[{theta, half}];
    if (!table || table.dim(1) < positions) table = made(cx, theta, half, positions);
    return table;
  }

 private:
  static Tensor made(Context& cx, double theta, std::int64_t half, std::int64_t positions) {
    constexpr std::uint64_t kFewest = 256;
    const auto rows = static_cast<std::int64_t>(
        std::bit_ceil(std::max(kFewest, static_cast<std::uint64_t>(positions))));
    Context scratch = cx.in(Segment::kScratch);
    Tensor table = Tensor::empty(scratch, {2, rows, half}, kDTypeOf<C>);
    C* cosine = table.data<C>();
    std::vector<double> steps;
    for (std::int64_t j = 0; j < half; ++j)
      steps.push_back(std::pow(theta, -static_cast<double>(j) / static_cast<double>(half)));
    const Tensor step = Tensor::from(scratch, {half}, steps);
    each<1>(cx.stream, rows * half, true,
            FillTable<C>{cosine, cosine + rows * half, half, step.data<double>()});
    return table;
  }
  std::map<std::pair<double, std::int64_t>, Tensor> tables_;
};

template <class T>
struct Turn {
  using C = Compute<T>;
  T* y;
  const T* x;
  const C* cosine;  // from position `start` on
  const C* sine;
  std::int64_t time, heads, groups, half;
  C sign;
  // Pair i: element `i % half` of every `groups`-th head, from head `i / half % groups` on, of row
  // `i / half / groups`. Neighbouring threads read neighbouring heads.
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const std::int64_t unit = i / half, j = i - unit * half;
    const std::int64_t row = unit / groups, group = unit - row * groups;
    const std::int64_t angle = row % time * half + j;
    Pack<T, kWidth> low[kHeads], high[kHeads];
#pragma unroll
    for (int k = 0; k < kHeads; ++k) {
      if (group + k * groups >= heads) break;
      const T* from = x + (row * heads + group + k * groups) * 2 * half + j;
      low[k] = load_pack<kWidth>(from);
      high[k] = load_pack<kWidth>(from + half);
    }
    const Pack<C, kWidth> c = load_pack<kWidth>(cosine + angle);
    const Pack<C, kWidth> s = load_pack<kWidth>(sine + angle);
#pragma unroll
    for (int k = 0; k < kHeads; ++k) {
      if (group + k * groups >= heads) break;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const C a = widen(low[k].v[e]), b = widen(high[k].v[e]), t = sign * s.v[e];
        low[k].v[e] = static_cast<T>(a * c.v[e] - b * t);
        high[k].v[e] = static_cast<T>(b * c.v[e] + a * t);
      }
      T* to = y + (row * heads + group + k * groups) * 2 * half + j;
      store_pack(to, low[k]);
      store_pack(to + half, high[k]);
    }
  }
};

}  // namespace

void rope(Context& cx, const Tensor& x, const Tensor& y, const RopeOptions& o, double sign) {
  const std::int64_t time = x.dim(1), half = x.dim(2) / (2 * o.heads);
  const std::int64_t groups = (o.heads + kHeads - 1) / kHeads;
  if (x.numel() == 0) return;
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    constexpr int kWidth = kPackWidth<T>;
    const Tensor& table = cx.engine->slot<Tables<C>>().get(cx, o.theta, half, o.start + time);
    const C* cosine = table.data<C>() + o.start * half;
    const C* sine = cosine + table.dim(1) * half;
    T* to = y.data<T>();
    const T* from = x.data<T>();
    const bool packs = half % kWidth == 0 && aligned_for<kWidth>(to, from, cosine, sine);
    each<kWidth>(
        cx.stream, x.dim(0) * time * groups * half, packs,
        Turn<T>{to, from, cosine, sine, time, o.heads, groups, half, static_cast<C>(sign)});
  });
}

}  // namespace gradwire::cuda
