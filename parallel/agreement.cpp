#include "parallel/agreement.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace gradwire {
namespace {

template <class T, std::size_t kN>
std::array<T, kN> reduce(Context& cx, Communicator& comm, std::array<T, kN> words, ReduceOp op) {
  Context scratch = cx.in(Segment::kComm);
  Tensor t = Tensor::from(scratch, {static_cast<std::int64_t>(kN)}, std::span<const T>(words));
  comm.all_reduce(t, op, cx.stream)->wait(cx.stream);
  const std::vector<T> all = t.to_host<T>(cx);
  std::copy(all.begin(), all.end(), words.begin());
  return words;
}

}  // namespace

StepWord agree(Context& cx, Communicator& comm, const StepWord& mine) {
  const std::array<double, 4> words{mine.stop ? 1.0 : 0.0, mine.nonfinite ? 1.0 : 0.0,
                                    mine.loss_sum, mine.loss_count};
  const auto all = reduce(cx, comm, words, ReduceOp::kSum);
  return {all[0] > 0.0, all[1] > 0.0, all[2], all[3]};
}

double sum_over_ranks(Context& cx, Communicator& comm, double value) {
  if (comm.size() == 1) return value;
  return reduce(cx, comm, std::array<double, 1>{value}, ReduceOp::kSum)[0];
}

double mean_over_ranks(Context& cx, Communicator& comm, double value, double weight) {
  const auto sums =
      reduce(cx, comm, std::array<double, 2>{weight == 0.0 ? 0.0 : value * weight, weight},
             ReduceOp::kSum);
  return sums[0] / sums[1];
}

double max_over_ranks(Context& cx, Communicator& comm, double value) {
  return reduce(cx, comm, std::array<double, 1>{value}, ReduceOp::kMax)[0];
}

}  // namespace gradwire
