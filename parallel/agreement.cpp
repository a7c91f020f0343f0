#include "parallel/agreement.h"

namespace gradwire {
namespace {

std::vector<double> reduce(Context& cx, Communicator& comm, const std::vector<double>& words,
                           ReduceOp op) {
  Context host = cx.on_host().in(Segment::kComm);
  Tensor t = Tensor::from(host, {std::ssize(words)}, words);
  comm.all_reduce(t, op, host.stream)->wait(host.stream);
  return t.to_host<double>(host);
}

}  // namespace

StepAgreement::StepAgreement(Context& cx, Communicator& comm, const StepWord& mine) {
  std::vector<double> words{mine.stop ? 1.0 : 0.0, mine.nonfinite ? 1.0 : 0.0, mine.loss_sum,
                            mine.loss_count};
  words.insert(words.end(), mine.counts.begin(), mine.counts.end());
  Context host = cx.on_host().in(Segment::kComm);
  words_ = Tensor::from(host, {std::ssize(words)}, words);
  work_ = comm.all_reduce(words_, ReduceOp::kSum, host.stream);
}

StepWord StepAgreement::wait(Context& cx) {
  Context host = cx.on_host();
  work_->wait(host.stream);
  const std::vector<double> all = words_.to_host<double>(host);
  return {all[0] > 0.0, all[1] > 0.0, all[2], all[3], {all.begin() + 4, all.end()}};
}

double sum_over_ranks(Context& cx, Communicator& comm, double value) {
  if (comm.size() == 1) return value;
  return reduce(cx, comm, {value}, ReduceOp::kSum)[0];
}

double mean_over_ranks(Context& cx, Communicator& comm, double value, double weight) {
  const auto sums =
      reduce(cx, comm, {weight == 0.0 ? 0.0 : value * weight, weight}, ReduceOp::kSum);
  return sums[0] / sums[1];
}

double max_over_ranks(Context& cx, Communicator& comm, double value) {
  return reduce(cx, comm, {value}, ReduceOp::kMax)[0];
}

}  // namespace gradwire
