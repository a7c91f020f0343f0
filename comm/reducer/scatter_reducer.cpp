#include <vector>

#include "comm/plan.h"
#include "comm/reducer/reducer.h"
#include "core/error.h"

namespace gradwire {
namespace {

class ScatterReducer final : public Reducer {
 public:
  explicit ScatterReducer(Communicator& comm) : comm_(comm) {}

  void finish(Context& cx) override {
    for (const WorkPtr& work : works_)
      work->wait(cx.stream);
    works_.clear();
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    return all_reduce_bytes(bucket.numel(), ranks);  // with the gathering of what was updated
  }
  ExchangeKinds supports() const override { return {ExchangeKind::kGradient}; }
  const char* name() const override { return "scatter reducer"; }
  void visit_state(StateVisitor&) override {}

 private:
  void do_submit(Context& cx, std::size_t, const Exchange& e) override {
    if (e.live || e.use) {
      throw Error(ErrorKind::kUsage, "scatter reducer: takes values as they are");
    }
    const auto& [value, weight] = std::get<Gradient>(e.what);
    if (weight != 1.0F) scale(cx, value, weight);
    if (comm_.size() == 1) return;
    works_.push_back(comm_.reduce_scatter(value, own_slice(value, comm_), ReduceOp::kMean,
                                          {cx.stream, Traffic::kGradient}));
  }
  void do_reset_residuals(Context&, std::size_t) override {}  // it has none

  Communicator& comm_;
  std::vector<WorkPtr> works_;  // cleared, never shrunk
};

}  // namespace

Tensor own_slice(const Tensor& t, const Communicator& comm) {
  const std::int64_t part = t.numel() / comm.size();
  return t.slice(comm.rank() * part, (comm.rank() + 1) * part);
}

std::unique_ptr<Reducer> make_scatter_reducer(Communicator& comm) {
  return std::make_unique<ScatterReducer>(comm);
}

}  // namespace gradwire
