#include <utility>
#include <vector>

#include "comm/call.h"
#include "comm/reducer/reducer.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

// What this rank brings to the mean, in the tensor that the mean is to replace.
Tensor contribution(const Exchange& e) {
  if (e.live) throw Error(ErrorKind::kUsage, "dense reducer: takes every coordinate");
  if (e.recall) throw Error(ErrorKind::kUsage, "dense reducer: keeps no answers to recall");
  if (!e.momentum && e.weight == 1.0F) return e.value;
  on_device(
      e.value.device(), [](Device) {}, [](auto) { no_cuda_kernel("dense reducer"); });
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

// The baseline: an all-reduce of every tensor as it is.
class DenseReducer final : public Reducer {
 public:
  explicit DenseReducer(Communicator& comm) : comm_(comm) {}

  void submit(Context& cx, std::size_t, const Exchange& e) override {
    const Tensor mine = contribution(e);
    if (e.use) to_use_.push_back(e);
    if (comm_.size() == 1) return;
    works_.push_back(comm_.all_reduce(mine, ReduceOp::kMean, {cx.stream, Traffic::kGradient}));
  }

  void finish(Context& cx) override {
    for (const WorkPtr& work : works_)
      work->wait(cx.stream);
    works_.clear();
    for (const Exchange& e : to_use_)
      use_all(e, e.value.numel());
    to_use_.clear();
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    return all_reduce_bytes(bucket.numel(), ranks);
  }

  void visit_state(StateVisitor&) override {}

 private:
  Communicator& comm_;
  std::vector<WorkPtr> works_;  // cleared, never shrunk
  std::vector<Exchange> to_use_;
};

}  // namespace

void use_all(const Exchange& e, std::int64_t n) {
  if (!e.use) return;
  const float* const result = (e.momentum ? e.momentum : e.value).data<float>();
  parallel_for(n, kGrain,
               [&](std::int64_t begin, std::int64_t end) { e.use(begin, end, result + begin); });
}

std::unique_ptr<Reducer> make_dense_reducer(Communicator& comm) {
  return std::make_unique<DenseReducer>(comm);
}

}  // namespace gradwire
