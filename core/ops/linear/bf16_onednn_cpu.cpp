#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include <dnnl.hpp>
#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/linear/bf16_gemm.h"
#include "core/ops/linear/block_gemm.h"
#include "core/ops/linear/gemm_tiles.h"
#include "core/ops/linear/thread_scratch.h"
#include "core/tensor.h"

namespace gradwire::cpu::onednn {
namespace {

using Desc = dnnl::memory::desc;
using Type = dnnl::memory::data_type;

// Tall tiles, and as wide as c: the library blocks for the caches by itself, copies b once per
// call, and knows its fastest kernels only for matrices without gaps between their rows.
constexpr std::int64_t kMostRows = 1024;

struct Plan {
  explicit Plan(const dnnl::matmul::primitive_desc& pd)
      : primitive(pd),
        a(pd.src_desc()),
        b(pd.weights_desc()),
        c(pd.dst_desc()),
        bias(pd.bias_desc()),
        scratch(pd.scratchpad_desc()) {}

  dnnl::matmul primitive;
  Desc a, b, c, bias, scratch;
};

struct PackPlan {
  Desc from, to;
  dnnl::reorder primitive;
};

dnnl::primitive_attr attributes(bool add) {
  dnnl::primitive_attr out;
  out.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    out.set_post_ops(sum);
  }
  return out;
}

Desc describe(const GemmOperand& x, std::int64_t rows, std::int64_t cols) {
  using Strides = dnnl::memory::dims;
  return {{rows, cols}, Type::bf16, x.transposed ? Strides{1, x.ld} : Strides{x.ld, 1}};
}

// b [k, n] as the library would like it for products of many rows.
Desc packed_desc(const dnnl::engine& engine, std::int64_t k, std::int64_t n) {
  const auto rows_of = [](std::int64_t length) {
    return Desc({kMostRows, length}, Type::bf16, dnnl::memory::dims{length, 1});
  };
  const Desc b({k, n}, Type::bf16, dnnl::memory::format_tag::any);
  const dnnl::matmul::desc product(rows_of(k), b, rows_of(n));
  return dnnl::matmul::primitive_desc(product, attributes(false), engine).weights_desc();
}

using Key = std::array<std::int64_t, 11>;

struct Unit {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::map<Key, Plan> plans;
  std::map<std::array<std::int64_t, 4>, PackPlan> packing;
};

template <class F>
auto checked(const char* what, const F& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    throw Error(ErrorKind::kInternal, fmt::format("gemm: oneDNN: {}: {} (status {})", what,
                                                  e.what(), static_cast<int>(e.status)));
  }
}

const PackPlan& pack_plan(Unit& unit, const GemmOperand& b, std::int64_t k, std::int64_t n) {
  const std::array<std::int64_t, 4> key{k, n, b.ld, b.transposed ? 1 : 0};
  const auto found = unit.packing.find(key);
  if (found != unit.packing.end()) return found->second;
  const Desc from = describe(b, k, n), to = packed_desc(unit.engine, k, n);
  const dnnl::reorder::primitive_desc reorder(unit.engine, from, unit.engine, to);
  return unit.packing.emplace(key, PackPlan{from, to, dnnl::reorder(reorder)}).first->second;
}

const Plan& plan_of(Unit& unit, const Gemm& g) {
  const auto n = [](auto x) { return static_cast<std::int64_t>(x); };
  const bool packed = g.b.packed != nullptr;
  const Key key{g.m,
                g.n,
                g.k,
                g.a.ld,
                n(g.a.transposed),
                packed ? -1 : g.b.ld,
                n(g.b.transposed),
                g.ldc,
                n(g.c_dtype),
                n(g.accumulate),
                n(g.bias != nullptr)};
  const auto found = unit.plans.find(key);
  if (found != unit.plans.end()) return found->second;
  // The library cuts its work by the threads it sees now.
  const SingleThreadScope single;
  const auto rows = [&](std::int64_t count, std::int64_t ld, Type type) {
    return Desc({count, g.n}, type, dnnl::memory::dims{ld, 1});
  };
  const Plan plan = checked("plan a product", [&] {
    const Desc b = packed ? packed_desc(unit.engine, g.k, g.n) : describe(g.b, g.k, g.n);
    const Desc bias = g.bias == nullptr ? Desc() : rows(1, g.n, Type::f32);
    const Desc c = rows(g.m, g.ldc, g.c_dtype == DType::kBf16 ? Type::bf16 : Type::f32);
    const dnnl::matmul::desc product(describe(g.a, g.m, g.k), b, bias, c);
    return Plan({product, attributes(g.accumulate), unit.engine});
  });
  return unit.plans.emplace(key, plan).first->second;
}

void* at(const void* data, std::int64_t elements, DType type) {
  const auto bytes = elements * static_cast<std::int64_t>(size_of(type));
  return static_cast<std::byte*>(const_cast<void*>(data)) + bytes;
}

class UnitGemm {
 public:
  UnitGemm(Context& cx, Unit& unit, const Gemm& g)
      : g_(g),
        engine_(unit.engine),
        t_(tiling_of(g, kMostRows, g.n)),
        full_(plan_of(unit, tile(t_.rows))),
        last_(plan_of(unit, tile(g.m - (t_.down - 1) * t_.rows))),
        scratch_(cx, copy_bytes() + std::max(full_.scratch.get_size(), last_.scratch.get_size())) {}

  void run() const {
    for_each_tile(g_, t_, [&](std::int64_t batch, Range rows, Range) {
      const SingleThreadScope single;
      checked("multiply", [&] { compute(batch, rows); });
    });
  }

 private:
  // A part of the rows of op(a) has gaps if a is transposed.
  bool copies_a() const { return g_.a.transposed && t_.down > 1; }

  std::size_t copy_bytes() const {
    const std::int64_t elements = copies_a() ? t_.rows * g_.k : 0;
    return (static_cast<std::size_t>(elements) * sizeof(Bf16) + 63) / 64 * 64;
  }

  Gemm tile(std::int64_t rows) const {
    Gemm one = g_;
    one.m = rows;
    if (copies_a()) one.a.ld = rows;
    return one;
  }

  void* part_of_a(std::int64_t batch, Range rows) const {
    void* from = at(g_.a.data, place(g_.a, batch, rows, {0, g_.k}), DType::kBf16);
    if (!copies_a()) return from;
    std::byte* room = scratch_.mine();
    for (std::int64_t i = 0; i < g_.k; ++i) {
      std::copy_n(static_cast<const Bf16*>(from) + i * g_.a.ld, rows.size,
                  reinterpret_cast<Bf16*>(room) + i * rows.size);
    }
    return room;
  }

  void compute(std::int64_t batch, Range rows) const {
    const Plan& plan = rows.size == t_.rows ? full_ : last_;
    const auto memory = [&](const Desc& desc, void* data) {
      return dnnl::memory(desc, engine_, data);
    };
    const std::int64_t c = batch * g_.c_batch_stride + rows.begin * g_.ldc;
    std::unordered_map<int, dnnl::memory> args{
        {DNNL_ARG_SRC, memory(plan.a, part_of_a(batch, rows))},
        {DNNL_ARG_WEIGHTS,
         g_.b.packed != nullptr
             ? *static_cast<const dnnl::memory*>(g_.b.packed->described.get())
             : memory(plan.b, at(g_.b.data, batch * g_.b.batch_stride, DType::kBf16))},
        {DNNL_ARG_DST, memory(plan.c, at(g_.c, c, g_.c_dtype))},
        {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, scratch_.mine() + copy_bytes())}};
    if (g_.bias != nullptr) {
      args.emplace(DNNL_ARG_BIAS, memory(plan.bias, const_cast<void*>(g_.bias)));
    }
    dnnl::stream stream(engine_);
    plan.primitive.execute(stream, args);
    stream.wait();
  }

  const Gemm& g_;
  const dnnl::engine& engine_;
  Tiling t_;
  const Plan& full_;
  const Plan& last_;  // of the tile at the lower edge
  ThreadScratch scratch_;
};

}  // namespace

bool has_bf16_kernels() {
  try {
    packed_desc(dnnl::engine(dnnl::engine::kind::cpu, 0), 64, 64);
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

bool has_matrix_unit() {
  const auto isa = [](dnnl::cpu_isa x) { return static_cast<unsigned>(x); };
  const unsigned wanted = isa(dnnl::cpu_isa::avx512_core_amx);
  return (isa(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n) {
  Unit& unit = cx.engine->slot<Unit>();
  return checked("pack a matrix", [&] {
    const PackPlan& plan = pack_plan(unit, b, k, n);
    auto out = std::make_shared<PackedMatrix>();
    const auto bytes = static_cast<std::int64_t>(plan.to.get_size());
    out->storage = Tensor::empty(cx, {bytes}, DType::kU8);
    dnnl::memory to(plan.to, unit.engine, out->storage.raw());
    dnnl::memory from(plan.from, unit.engine, const_cast<void*>(b.data));
    dnnl::stream stream(unit.engine);
    plan.primitive.execute(stream, from, to);
    stream.wait();
    // The library writes the padding of a memory object when it is made: so this one is made once,
    // and not by each of the threads that read it.
    out->described = std::make_shared<dnnl::memory>(std::move(to));
    return out;
  });
}

void gemm_bf16(Context& cx, const Gemm& g) {
  UnitGemm(cx, cx.engine->slot<Unit>(), g).run();
}

}  // namespace gradwire::cpu::onednn
