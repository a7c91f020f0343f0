#include "parallel/data_parallel.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

DataParallel::DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> reducer,
                           std::span<Parameter* const> params, DataParallelOptions options)
    : comm_(comm),
      reducer_(std::move(reducer)),
      buckets_(cx, params, options.bucket_bytes),
      waiting_(buckets_.size()) {}

void DataParallel::broadcast(Context& cx, std::span<Parameter* const> params) {
  std::vector<WorkPtr> works;
  for (Parameter* p : params) {
    works.push_back(comm_.broadcast(p->value, 0, {cx.stream, Traffic::kParameter}));
    ++p->version;
  }
  for (const WorkPtr& w : works)
    w->wait(cx.stream);
}

void DataParallel::overlap(Context& cx, Tape& tape) {
  if (submitted_ != 0) {
    throw Error(ErrorKind::kUsage, "data parallel: the step before was not finished");
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    waiting_[b] = buckets_[b].params.size();
  tape.on_param_ready([this, &cx](Parameter& p) { mark_ready(cx, p); });
}

void DataParallel::mark_ready(Context& cx, const Parameter& p) {
  --waiting_[buckets_.bucket_of(p)];
  while (submitted_ < buckets_.size() && waiting_[submitted_] == 0)
    submit_next(cx);
}

void DataParallel::submit_next(Context& cx) {
  buckets_.fill_empty(cx, submitted_);
  reducer_->submit(cx, {&buckets_[submitted_].flat, 1});
  ++submitted_;
}

void DataParallel::finish_gradients(Context& cx) {
  while (submitted_ < buckets_.size())
    submit_next(cx);
  submitted_ = 0;
  const Clock::time_point begin = Clock::now();
  reducer_->finish(cx);
  wait_seconds_ += seconds_since(begin);
}

void DataParallel::average(Context& cx, std::span<const Tensor> tensors) {
  const Clock::time_point begin = Clock::now();
  reducer_->submit(cx, tensors);
  reducer_->finish(cx);
  wait_seconds_ += seconds_since(begin);
}

double DataParallel::take_wait_seconds() {
  return std::exchange(wait_seconds_, 0.0);
}

}  // namespace gradwire
