#include "core/ops/cross_entropy/cross_entropy_kernels.h"
#include "core/ops/softmax/row_max.h"

namespace gradwire::GW_ISA {
namespace {

// loss = log_sum - (1 - e) x[target] - e mean(x); the maximum is taken out of each term, so that
// large logits cost no precision.
template <class T>
void forward(const CrossEntropyRows& a, std::int64_t begin, std::int64_t end) {
  using C = Compute<T>;
  const C smoothing = static_cast<C>(a.smoothing);
  C* log_sums = static_cast<C*>(a.log_sum);
  C* losses = static_cast<C*>(a.losses);
  for (std::int64_t r = begin; r < end; ++r) {
    if (a.targets[r] == a.ignore_index) {
      log_sums[r] = losses[r] = C(0);
      continue;
    }
    const T* x = static_cast<const T*>(a.logits) + r * a.width;
    const C most = max_of<T>(x, a.width);
    const C log_sum = math::log(sum_of_exp<T>(x, most, a.width));
    C loss = log_sum - (C(1) - smoothing) * (load<T>(x, a.targets[r]) - most);
    if (smoothing != C(0)) {
      const C sum = lane_sum<C>(a.width, [=](std::int64_t i) { return load<T>(x, i) - most; });
      loss -= smoothing * sum / static_cast<C>(a.width);
    }
    log_sums[r] = most + log_sum;
    losses[r] = loss;
  }
}

// dx = scale (softmax(x) - (1 - e) one_hot(target) - e / V)
template <class T>
void backward(const CrossEntropyRows& a, std::int64_t begin, std::int64_t end) {
  using C = Compute<T>;
  const C scale = static_cast<C>(a.scale);
  const C uniform = static_cast<C>(a.scale * a.smoothing / static_cast<double>(a.width));
  const C hit = static_cast<C>(a.scale * (1.0 - a.smoothing));
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = static_cast<const T*>(a.logits) + r * a.width;
    T* dx = static_cast<T*>(a.dlogits) + r * a.width;
    const std::int32_t target = a.targets[r];
    if (target == a.ignore_index) {
#pragma omp simd
      for (std::int64_t i = 0; i < a.width; ++i)
        store<T>(dx, i, C(0));
      continue;
    }
    const C log_sum = static_cast<const C*>(a.log_sum)[r];
    const C at_target = scale * math::exp(load<T>(x, target) - log_sum) - uniform - hit;
#pragma omp simd
    for (std::int64_t i = 0; i < a.width; ++i) {
      store<T>(dx, i, scale * math::exp(load<T>(x, i) - log_sum) - uniform);
    }
    store<T>(dx, target, at_target);
  }
}

}  // namespace

const CrossEntropyKernels cross_entropy_kernels{
    {forward<float>, forward<double>, forward<Bf16>},
    {backward<float>, backward<double>, backward<Bf16>}};

}  // namespace gradwire::GW_ISA
