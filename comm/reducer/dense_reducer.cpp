#include <utility>
#include <vector>

#include "comm/plan.h"
#include "comm/reducer/reducer.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

// What this rank brings to the mean, in the tensor that the mean is to replace.
Tensor made_on_host(const Contribution& e) {
  const float* x = e.value.data<float>();
  Tensor out = e.momentum ? e.momentum : e.value;
  float* to = out.data<float>();
  const float keep = e.momentum ? e.beta : 0.0F;
  const float weight = (1.0F - keep) * e.weight;
  parallel_for(out.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      to[i] = keep == 0.0F ? weight * x[i] : keep * to[i] + weight * x[i];
  });
  return out;
}

Tensor made_on_gpu(Context& cx, const Contribution& e) {
  if (!e.momentum) {
    scale(cx, e.value, e.weight);
    return e.value;
  }
  scale(cx, e.momentum, e.beta);
  add_scaled(cx, e.momentum, e.value, (1.0F - e.beta) * e.weight);
  return e.momentum;
}

Tensor made_in_place(Context& cx, const Contribution& e) {
  if (!e.momentum && e.weight == 1.0F) return e.value;
  return on_device(
      e.value.device(), [&](Device) { return made_on_host(e); },
      [&](auto) { return made_on_gpu(cx, e); });
}

// The baseline: an all-reduce of every tensor as it is.
class DenseReducer final : public Reducer {
 public:
  explicit DenseReducer(Communicator& comm) : comm_(comm) {}

  void finish(Context& cx) override {
    for (const WorkPtr& work : works_)
      work->wait(cx.stream);
    works_.clear();
    for (const Exchange& e : to_use_)
      use_all(e, contribution_of(e).value.numel());
    to_use_.clear();
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    return all_reduce_bytes(bucket.numel(), ranks);
  }

  ExchangeKinds supports() const override {
    return {ExchangeKind::kGradient, ExchangeKind::kMomentum, ExchangeKind::kDrift};
  }
  const char* name() const override { return "dense reducer"; }
  void visit_state(StateVisitor&) override {}

 private:
  void do_submit(Context& cx, std::size_t, const Exchange& e) override {
    if (e.live) throw Error(ErrorKind::kUsage, "dense reducer: takes every coordinate");
    const Tensor mine = made_in_place(cx, contribution_of(e));
    if (e.use) to_use_.push_back(e);
    if (comm_.size() == 1) return;
    works_.push_back(comm_.all_reduce(mine, ReduceOp::kMean, {cx.stream, Traffic::kGradient}));
  }
  void do_reset_residuals(Context&, std::size_t) override {}  // it has none

  Communicator& comm_;
  std::vector<WorkPtr> works_;  // cleared, never shrunk
  std::vector<Exchange> to_use_;
};

}  // namespace

void use_all(const Exchange& e, std::int64_t n) {
  if (!e.use) return;
  const float* const result = contribution_of(e).result().data<float>();
  parallel_for(n, kGrain,
               [&](std::int64_t begin, std::int64_t end) { e.use(begin, end, result + begin); });
}

std::unique_ptr<Reducer> make_dense_reducer(Communicator& comm) {
  return std::make_unique<DenseReducer>(comm);
}

}  // namespace gradwire
