#include "comm/codec/input_kernels.h"
#include "comm/codec/lanes.h"
#include "comm/codec/load_lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

template <class At>
bool load_as(const BlockSource& source, std::int64_t n, float* c, double* norm1, const At& at) {
  if (norm1 == nullptr) return load_with(n, c, at);
  // A third stream leaves no room in the first-level cache for what is asked for early.
  const bool early = source.momentum == nullptr;
  return load_with_norm1(n, c, norm1, early ? source.x : nullptr, early ? source.residual : nullptr,
                         at);
}

bool load(const BlockSource& source, std::int64_t n, float* c, double* norm1) {
  const float* __restrict x = source.x;
  const float* __restrict e = source.residual;
  const float* __restrict m = source.momentum;
  const float w = source.weight;
  if (e == nullptr)
    return load_as(source, n, c, norm1, [=](std::int64_t i, int) { return w * x[i]; });
  if (m == nullptr)
    return load_as(source, n, c, norm1, [=](std::int64_t i, int) { return w * x[i] + e[i]; });
  const float old_part = source.beta, new_part = (1.0F - source.beta) * w;
  return load_as(source, n, c, norm1,
                 [=](std::int64_t i, int) { return (old_part * m[i] + new_part * x[i]) + e[i]; });
}

double norm1(const float* c, std::int64_t padded) {
  return lane_sum<double>(
      padded, [c](std::int64_t i) { return static_cast<double>(__builtin_fabsf(c[i])); });
}

void add(float* __restrict acc, const float* __restrict value, float weight, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    acc[i] += weight * value[i];
}

// to[i] = join(to[i], value[i]) in live coordinates; the others keep their bits.
template <class Join>
void merge_live(float* __restrict to, const float* __restrict value, const std::byte* live,
                std::int64_t n, const Join& join) {
  for (std::int64_t i = 0; i < n; i += 32) {
    std::uint32_t dead_sign[32];
    unpack_signs(load_u32(live + i / 8), dead_sign);
    for (int l = 0; l < 32; ++l)
      to[i + l] = math::select(dead_sign[l] == 0, join(to[i + l], value[i + l]), to[i + l]);
  }
}

void add_live(float* acc, const float* value, float weight, const std::byte* live, std::int64_t n) {
  merge_live(acc, value, live, n, [weight](float a, float b) { return a + weight * b; });
}
void set_live(float* to, const float* value, const std::byte* live, std::int64_t n) {
  merge_live(to, value, live, n, [](float, float b) { return b; });
}

// In whole words of 16 bytes, which the processor puts together to lines.
void store_past_cache(float* to, const float* values, std::int64_t n) {
  constexpr std::int64_t kWord = 4;
  std::int64_t i = 0;
  for (; i < n && reinterpret_cast<std::uintptr_t>(to + i) % (kWord * sizeof(float)) != 0; ++i)
    to[i] = values[i];
  for (; i + kWord <= n; i += kWord)
    _mm_stream_ps(to + i, _mm_loadu_ps(values + i));
  for (; i < n; ++i)
    to[i] = values[i];
}

void zero_dead(float* values, const std::byte* live, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 32) {
    std::uint32_t dead_sign[32];
    unpack_signs(load_u32(live + i / 8), dead_sign);
    for (int l = 0; l < 32; ++l)
      values[i + l] = math::select(dead_sign[l] == 0, values[i + l], 0.0F);
  }
}

}  // namespace

const InputKernels input_kernels{&load,     &norm1, &add, &add_live, &set_live, &store_past_cache,
                                 &zero_dead};

}  // namespace gradwire::GW_ISA
