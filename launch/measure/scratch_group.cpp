#include "launch/measure/scratch_group.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include <fmt/format.h>

#include "launch/assemble/learner.h"
#include "parallel/agreement.h"

namespace gradwire {
namespace {

// Of a parameter: a matrix, since low-rank reducers care.
constexpr std::int64_t kColumns = 256;
constexpr std::int64_t kMostRows = 1024;

template <class F>
double seconds_of(Context& cx, Communicator& comm, const F& f) {
  using Clock = std::chrono::steady_clock;
  synchronize(cx.stream);
  comm.barrier();
  const Clock::time_point begin = Clock::now();
  f();
  synchronize(cx.stream);
  return max_over_ranks(cx, comm, std::chrono::duration<double>(Clock::now() - begin).count());
}

}  // namespace

ScratchGroup::ScratchGroup(Context& cx, Communicator& comm, const Recipe& recipe,
                           std::int64_t elements)
    : comm_(comm) {
  Context scratch = cx.in(Segment::kComm);
  const std::int64_t most = std::min(bucket_bytes(recipe, comm.size()) / 4, elements);
  const std::int64_t rows = std::clamp<std::int64_t>(most / kColumns, 1, kMostRows);
  const std::int64_t size = rows * kColumns;
  std::vector<Parameter*> all;
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, elements / size); ++i) {
    Parameter& p = params_.emplace_back();
    p.name = fmt::format("scratch.{}", i);
    p.value = Tensor::empty(scratch, {rows, kColumns}, DType::kF32);
    all.push_back(&p);
  }
  values_ = Tensor::empty(scratch, {rows, kColumns}, DType::kF32);
  fill_normal(cx, values_, Rng{1, 0}, 1.0);
  group_ = std::make_unique<DataParallel>(cx, comm, make_dense_reducer(comm), all,
                                          DataParallelOptions{bucket_bytes(recipe, comm.size())});
  if (!recipe.compresses()) return;
  group_->compress_with(make_compressed(cx, comm, recipe, group_->buckets().all()));
}

void ScratchGroup::refill(Context& cx) {
  for (Parameter& p : params_) {
    copy(cx, p.grad, values_);
    p.grad_empty = false;
  }
  ++step_;
}

double ScratchGroup::dense_seconds(Context& cx) {
  refill(cx);
  group_->average(Averaged::kAll);
  return seconds_of(cx, comm_, [&] {
    group_->finish_gradients(cx);
    group_->mean_gradient_norm(cx, step_);
  });
}

double ScratchGroup::compressed_seconds(Context& cx) {
  refill(cx);
  group_->average(Averaged::kUncompressed);
  return seconds_of(cx, comm_, [&] {
    group_->finish_gradients(cx);
    group_->mean_gradient_norm(cx, step_);
    group_->compress_gradients(cx, 1.0);
  });
}

}  // namespace gradwire
