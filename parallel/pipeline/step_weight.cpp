#include "parallel/pipeline/step_weight.h"

namespace gradwire {

StepWeight::StepWeight(double total, int replicas) : replicas_(replicas), total_(total) {}

StepWeight::StepWeight(Context& cx, Communicator& replicas, const StageModel& model, int micros)
    : replicas_(replicas.size()), total_(model.total_weight(micros * replicas.size())) {
  if (total_) return;
  double mine = 0.0;
  for (int micro = 0; micro < micros; ++micro)
    mine += model.weight(micro);
  if (replicas.size() == 1) {
    total_ = mine;
    return;
  }
  Context host = cx.on_host().in(Segment::kComm);
  sum_ = Tensor::from(host, {1}, std::vector<double>{mine});
  summing_ = replicas.all_reduce(sum_, ReduceOp::kSum, host.stream);
}

double StepWeight::total(Context& cx) {
  if (!total_) {
    Context host = cx.on_host();
    summing_->wait(host.stream);
    summing_.reset();
    total_ = sum_.to_host<double>(host)[0];
  }
  return *total_;
}

double StepWeight::seed(Context& cx, double weight) {
  return replicas_ * weight / total(cx);
}

}  // namespace gradwire
