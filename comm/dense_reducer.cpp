#include <utility>
#include <vector>

#include "comm/reducer.h"

namespace gradwire {
namespace {

// The baseline: an all-reduce of every tensor as it is.
class DenseReducer final : public Reducer {
 public:
  explicit DenseReducer(Communicator& comm) : comm_(comm) {}

  void submit(Context& cx, std::span<const Tensor> tensors) override {
    if (comm_.size() == 1) return;
    for (const Tensor& t : tensors)
      works_.push_back(comm_.all_reduce(t, ReduceOp::kMean, {cx.stream, Traffic::kGradient}));
  }

  void finish(Context& cx) override {
    for (const WorkPtr& work : works_)
      work->wait(cx.stream);
    works_.clear();
  }

  void visit_state(StateVisitor&) override {}

 private:
  Communicator& comm_;
  std::vector<WorkPtr> works_;  // cleared, never shrunk
};

}  // namespace

std::unique_ptr<Reducer> make_dense_reducer(Communicator& comm) {
  return std::make_unique<DenseReducer>(comm);
}

}  // namespace gradwire
