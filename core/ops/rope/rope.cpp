#include "core/ops/rope/rope.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/ops/attention/attention.h"
#include "core/ops/operands.h"
#include "core/ops/rope/rope_kernels.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

// Cosines and sines [position, half], one table per (theta, half), grown as positions are asked
// for.
template <class C>
class RopeTables {
 public:
  struct Table {
    std::int64_t positions = 0;
    std::vector<C> cosine, sine;
  };
  const Table& get(double theta, std::int64_t half, std::int64_t positions) {
    Table& t = tables_[{theta, half}];
    if (t.positions < positions) grow(t, theta, half, positions);
    return t;
  }

 private:
  static void grow(Table& t, double theta, std::int64_t half, std::int64_t positions) {
    constexpr std::uint64_t kFewest = 256;
    const std::uint64_t rounded =
        std::bit_ceil(std::max(kFewest, static_cast<std::uint64_t>(positions)));
    t.positions = static_cast<std::int64_t>(rounded);
    t.cosine.resize(rounded * static_cast<std::size_t>(half));
    t.sine.resize(t.cosine.size());
    for (std::int64_t j = 0; j < half; ++j) {
      const double step = std::pow(theta, -static_cast<double>(j) / static_cast<double>(half));
      for (std::int64_t p = 0; p < t.positions; ++p) {
        const std::size_t at = static_cast<std::size_t>(p * half + j);
        t.cosine[at] = static_cast<C>(std::cos(static_cast<double>(p) * step));
        t.sine[at] = static_cast<C>(std::sin(static_cast<double>(p) * step));
      }
    }
  }
  std::map<std::pair<double, std::int64_t>, Table> tables_;
};

void check_shapes(const Tensor& x, const RopeOptions& o) {
  if (x.rank() != 3 || o.heads < 1 || x.dim(2) % (2 * o.heads) != 0) {
    throw Error(ErrorKind::kShape, fmt::format("rope: {} is not [B, T, {} heads of an even width]",
                                               to_string(x.shape()), o.heads));
  }
  if (o.start < 0) {
    throw Error(ErrorKind::kShape, fmt::format("rope: starts at position {}", o.start));
  }
}

template <class T>
void turn_cpu(Context& cx, const Tensor& x, const Tensor& y, const RopeOptions& o, double sign) {
  using C = Compute<T>;
  const std::int64_t time = x.dim(1), width = x.dim(2), half = width / (2 * o.heads);
  const auto& table = cx.engine->slot<RopeTables<C>>().get(o.theta, half, o.start + time);
  const std::int32_t* const starts =
      o.sample_starts ? o.sample_starts.data<std::int32_t>() : nullptr;
  const T* from = x.data<T>();
  T* to = y.data<T>();
  constexpr std::int64_t kRows = 64;
  parallel_for(x.dim(0) * time, kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t begin_of_sample = starts == nullptr ? 0 : starts[row];
      const std::int64_t at = (o.start + row % time - begin_of_sample) * half;
      const RopeTurn<C> turn{table.cosine.data() + at, table.sine.data() + at, half,
                             static_cast<C>(sign)};
      if constexpr (std::is_same_v<T, Bf16>) {
        rope_kernels().bf16(from + row * width, to + row * width, o.heads, turn);
      } else if constexpr (std::is_same_v<T, float>) {
        rope_kernels().f32(from + row * width, to + row * width, o.heads, turn);
      } else {
        rope_kernels().f64(from + row * width, to + row * width, o.heads, turn);
      }
    }
  });
}

Tensor turned(Context& cx, const Tensor& x, const RopeOptions& o, double sign) {
  const Tensor y = Tensor::empty(cx, x.shape(), x.dtype());
  on_device(
      cx.stream.device,
      [&](Device) {
        on_float(x.dtype(),
                 [&](auto t) { turn_cpu<typename decltype(t)::type>(cx, x, y, o, sign); });
      },
      [&](auto) { cuda::rope(cx, x, y, o, sign); });
  return y;
}

}  // namespace

Var rope(Context& cx, Tape& tape, Var x, const RopeOptions& options) {
  const Tensor& xv = tape.value(x);
  check_devices(cx, "rope", xv);
  check_shapes(xv, options);
  if (options.sample_starts) {
    check_sample_starts(cx, "rope", options.sample_starts, xv.dim(0), xv.dim(1));
  }
  return tape.record(turned(cx, xv, options, 1.0), {x},
                     [x, options](Context& c, Tape& t, const Tensor& dy) {
                       t.accumulate(c, x, turned(c, dy, options, -1.0));
                     });
}

}  // namespace gradwire
