#include "parallel/data_parallel.h"

#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/reduce/reduce.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

DataParallel::DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> dense,
                           std::span<Parameter* const> params, DataParallelOptions options)
    : comm_(comm),
      dense_(std::move(dense)),
      buckets_(cx, params, options.bucket_bytes, options.apart),
      sketch_(cx),
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
  if (is_averaged(submitted_)) dense_->submit(cx, submitted_, {buckets_[submitted_].flat});
  ++submitted_;
}

void DataParallel::finish_gradients(Context& cx) {
  while (submitted_ < buckets_.size())
    submit_next(cx);
  submitted_ = 0;
  const Clock::time_point begin = Clock::now();
  dense_->finish(cx);
  wait_seconds_ += seconds_since(begin);
}

double DataParallel::mean_gradient_norm(Context& cx, std::uint64_t step) {
  const Clock::time_point begin = Clock::now();
  double squares = 0.0;
  local_.clear();
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    if (is_averaged(b)) {
      squares += sum_of_squares(cx, {&buckets_[b].flat, 1});
    } else {
      local_.push_back(buckets_[b].flat);
    }
  }
  if (!local_.empty()) squares += std::pow(sketch_.mean_norm(cx, comm_, local_, step), 2);
  wait_seconds_ += seconds_since(begin);
  return std::sqrt(squares);
}

void DataParallel::compress_gradients(Context& cx, double weight) {
  exchanges_.clear();
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    Exchange& e = exchanges_.emplace_back();
    if (is_averaged(b)) {
      scale(cx, buckets_[b].flat, weight);
    } else {
      e = {buckets_[b].flat, static_cast<float>(weight)};
    }
  }
  agree(cx, exchanges_);
}

void DataParallel::agree(Context& cx, std::span<const Exchange> exchanges) {
  if (!compressed_) throw Error(ErrorKind::kInternal, "data parallel: no reducer to agree with");
  const Clock::time_point begin = Clock::now();
  for (std::size_t b = 0; b < exchanges.size(); ++b)
    if (exchanges[b].value) compressed_->submit(cx, b, exchanges[b]);
  compressed_->finish(cx);
  wait_seconds_ += seconds_since(begin);
}

void DataParallel::visit_state(StateVisitor& v) {
  dense_->visit_state(v);
  if (compressed_) compressed_->visit_state(v);
}

std::string DataParallel::take_news() {
  return compressed_ ? compressed_->take_news() : std::string();
}

double DataParallel::take_wait_seconds() {
  return std::exchange(wait_seconds_, 0.0);
}

}  // namespace gradwire
