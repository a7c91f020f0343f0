#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/embedding/embedding_kernels.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

template <class To, class From>
struct Lookup {
  To* y;
  const From* table;
  const std::int32_t* ids;
  std::int64_t width;  // a multiple of kWidth
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const std::int64_t n = i / width;
    const Pack<From, kWidth> x = load_pack<kWidth>(table + ids[n] * width + (i - n * width));
    Pack<To, kWidth> out;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      out.v[k] = static_cast<To>(static_cast<Compute<To>>(widen(x.v[k])));
    store_pack(y + i, out);
  }
};

// Where each id occurs: rows[s] occurs at order[begin[s]] .. order[begin[s + 1] - 1], in order.
struct Occurrences {
  std::vector<std::int32_t> order, begin, rows;
};

Occurrences occurrences_of(const std::vector<std::int32_t>& ids) {
  Occurrences o;
  o.order.resize(ids.size());
  std::iota(o.order.begin(), o.order.end(), 0);
  const auto id_at = [&](std::int32_t n) { return ids[static_cast<std::size_t>(n)]; };
  std::stable_sort(o.order.begin(), o.order.end(),
                   [&](std::int32_t a, std::int32_t b) { return id_at(a) < id_at(b); });
  for (std::size_t n = 0; n < o.order.size(); ++n) {
    const std::int32_t row = id_at(o.order[n]);
    if (!o.rows.empty() && o.rows.back() == row) continue;
    o.rows.push_back(row);
    o.begin.push_back(static_cast<std::int32_t>(n));
  }
  o.begin.push_back(static_cast<std::int32_t>(o.order.size()));
  return o;
}

// A block per row that occurs; a thread adds all of a column's terms, in order.
template <class To, class From>
struct RowGradients {
  To* dtable;
  const From* dy;
  const std::int32_t* order;
  const std::int32_t* begin;
  const std::int32_t* rows;
  std::int64_t count, width;
};

template <class To, class From>
__global__ void __launch_bounds__(kBlock) gradient_kernel(RowGradients<To, From> g) {
  for (std::int64_t s = blockIdx.x; s < g.count; s += gridDim.x) {
    To* row = g.dtable + g.rows[s] * g.width;
    for (std::int64_t c = threadIdx.x; c < g.width; c += kBlock) {
      Compute<To> sum = widen(row[c]);
      for (std::int32_t n = g.begin[s]; n < g.begin[s + 1]; ++n)
        sum += static_cast<Compute<To>>(widen(g.dy[g.order[n] * g.width + c]));
      row[c] = static_cast<To>(sum);
    }
  }
}

// Calls f(Type<To>, Type<From>).
template <class F>
void on_types(DType to, DType from, const F& f) {
  on_float(to,
           [&](auto to_type) { on_float(from, [&](auto from_type) { f(to_type, from_type); }); });
}

}  // namespace

void embedding(Stream s, const Tensor& y, const Tensor& table, const Tensor& ids) {
  on_types(y.dtype(), table.dtype(), [&]<class To, class From>(Type<To>, Type<From>) {
    constexpr int kWidth = kPackWidth<To, From>;
    To* to = y.data<To>();
    const From* from = table.data<From>();
    const std::int64_t width = table.dim(1);
    each<kWidth>(s, y.numel(), width % kWidth == 0 && aligned_for<kWidth>(to, from),
                 Lookup<To, From>{to, from, ids.data<std::int32_t>(), width});
  });
}

void embedding_grad(Context& cx, const Tensor& dtable, const Tensor& dy, const Tensor& ids) {
  if (dy.numel() == 0) return;
  const Occurrences o = occurrences_of(ids.to_host<std::int32_t>(cx));
  Context scratch = cx.in(Segment::kScratch);
  const auto upload = [&](const std::vector<std::int32_t>& v) {
    return Tensor::from(scratch, {static_cast<std::int64_t>(v.size())}, v);
  };
  const Tensor order = upload(o.order), begin = upload(o.begin), rows = upload(o.rows);
  on_types(dtable.dtype(), dy.dtype(), [&]<class To, class From>(Type<To>, Type<From>) {
    launch(cx.stream, blocks_for(rows.numel(), 1), gradient_kernel<To, From>,
           RowGradients<To, From>{dtable.data<To>(), dy.data<From>(), order.data<std::int32_t>(),
                                  begin.data<std::int32_t>(), rows.data<std::int32_t>(),
                                  rows.numel(), dtable.dim(1)});
  });
}

}  // namespace gradwire::cuda
