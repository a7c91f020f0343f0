#include "parallel/data_parallel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/reduce/reduce.h"
#include "parallel/agreement.h"
#include "parallel/replica_check.h"

namespace gradwire {
namespace {

// Both groups' reducers count the same steps under the same name: visited once, and whatever the
// visitor made of it given to both.
class CountsOnce final : public StateVisitor {
 public:
  explicit CountsOnce(StateVisitor& v) : v_(v) {}
  void tensor(std::string_view name, Tensor& t, Share share) override { v_.tensor(name, t, share); }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) override {
    v_.slice(name, t, begin, full);
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    once(integers_, name, v, share);
  }
  void number(std::string_view name, double& v, Share share) override {
    once(reals_, name, v, share);
  }
  void text(std::string_view name, std::string& v, Share share) override {
    v_.text(name, v, share);
  }

 private:
  template <class T>
  void once(std::map<std::string, T>& seen, std::string_view name, T& v, Share share) {
    const auto [at, fresh] = seen.try_emplace(std::string(name), T{});
    if (fresh) {
      v_.number(name, v, share);
      at->second = v;
    }
    v = at->second;
  }

  StateVisitor& v_;
  std::map<std::string, std::int64_t> integers_;
  std::map<std::string, double> reals_;
};

// The gradient of a parameter that two stages share is the sum of theirs; its drift is not.
void sum_over_ends(Exchange& e, float weight) {
  std::visit(
      [&](auto& what) {
        if constexpr (requires { what.weight; }) what.weight *= weight;
      },
      e.what);
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

DataParallel::DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> dense,
                           std::span<Parameter* const> params, DataParallelOptions options)
    : stages_(options.stages),
      buckets_(cx, params, options.bucket_bytes, options.uncompressed,
               options.tied ? options.tied->comm->size() : comm.size(),
               options.tied ? options.tied->name : "", options.conditional),
      sets_(options.conditional.size()),
      frozen_(std::move(options.frozen)),
      places_(buckets_.size()),
      sketch_(cx),
      waiting_(buckets_.size()),
      submitted_(buckets_.size(), false),
      left_out_(buckets_.size(), false) {
  groups_.push_back({&comm, std::move(dense), nullptr});
  if (options.tied) {
    // The mean over both stages' ranks of twice a gradient is the mean over replicas of their sum.
    TiedParameter& tied = *options.tied;
    groups_.push_back({tied.comm, tied.dense(*tied.comm), nullptr, 2.0F, tied.counts});
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const bool tied = options.tied && buckets_[b].params.front()->name == options.tied->name;
    Group& g = groups_[tied ? 1 : 0];
    places_[b] = {tied ? 1U : 0U, g.buckets.size()};
    g.buckets.push_back(b);
    g.layout.push_back(buckets_[b]);
  }
}

std::vector<Communicator*> DataParallel::comms() const {
  std::vector<Communicator*> all;
  for (const Place& p : places_)
    all.push_back(groups_[p.group].comm);
  return all;
}

void DataParallel::broadcast(Context& cx) {
  std::vector<WorkPtr> works;
  for (Group& g : groups_) {
    for (const FlatBucket& bucket : g.layout) {
      for (Parameter* p : bucket.params) {
        works.push_back(g.comm->broadcast(p->value, 0, {cx.stream, Traffic::kParameter}));
        ++p->version;
      }
    }
  }
  for (const WorkPtr& w : works)
    w->wait(cx.stream);
}

void DataParallel::overlap(Context& cx, Tape& tape, int passes) {
  if (std::ranges::count(submitted_, true) > 0) {
    throw Error(ErrorKind::kUsage, "data parallel: the step before was not finished");
  }
  if (!std::exchange(overlaps_, true)) {
    for (std::size_t b = 0; b < buckets_.size(); ++b)
      waiting_[b] = buckets_[b].params.size() * static_cast<std::size_t>(passes);
  }
  tape.on_param_ready([this, &cx](Parameter& p) { mark_ready(cx, p); });
}

void DataParallel::mark_ready(Context& cx, const Parameter& p) {
  --waiting_[buckets_.bucket_of(p)];
  submit_in_order(cx);
}

// Those of the first group that are complete, up to the first that is not. All ranks of the group
// have the same buckets, and meet them in this order.
void DataParallel::submit_in_order(Context& cx) {
  for (const std::size_t b : groups_.front().buckets) {
    if (waiting_[b] > 0 || is_conditional(b)) return;  // sets come last, and when all is known
    submit(cx, b);
  }
}

void DataParallel::submit(Context& cx, std::size_t bucket) {
  if (submitted_[bucket]) return;
  submitted_[bucket] = true;
  buckets_.fill_empty(cx, bucket);
  Group& g = group_of(bucket);
  if (is_averaged(bucket)) {
    g.dense->submit(cx, places_[bucket].bucket,
                    {.what = Gradient{buckets_[bucket].flat, g.weight}});
  }
}

void DataParallel::submit_tied(Context& cx) {
  if (groups_.size() > 1) submit(cx, groups_[1].buckets.front());
}

void DataParallel::leave_out_untouched(Context& cx) {
  if (sets_ == 0) return;
  std::vector<std::uint8_t> bits((sets_ + 7) / 8, 0);
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const bool touched =
        std::ranges::any_of(buckets_[b].params, [](const Parameter* p) { return !p->grad_empty; });
    const std::size_t set = buckets_.set_of(b);
    if (is_conditional(b) && touched) bits[set / 8] |= static_cast<std::uint8_t>(1U << set % 8);
  }
  if (comm().size() > 1) {
    Context host = cx.on_host().in(Segment::kComm);
    const Tensor all = Tensor::from(host, {std::ssize(bits)}, std::span<const std::uint8_t>(bits));
    const CallOptions uncounted{host.stream, Traffic::kGradient, 0};
    comm().all_reduce(all, ReduceOp::kOr, uncounted)->wait(host.stream);
    bits = all.to_host<std::uint8_t>(host);
  }
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const std::size_t set = buckets_.set_of(b);
    left_out_[b] = is_conditional(b) && (bits[set / 8] >> set % 8 & 1) == 0;
  }
}

void DataParallel::finish_gradients(Context& cx) {
  leave_out_untouched(cx);
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    if (!left_out_[b]) submit(cx, b);
  overlaps_ = false;
  submitted_.assign(buckets_.size(), false);
  const Clock::time_point begin = Clock::now();
  for (Group& g : groups_)
    g.dense->finish(cx);
  wait_seconds_ += seconds_since(begin);
}

// Of the mean gradient of a group's parameters; the same on all its ranks. Each rank sees to its
// slices: the same additions whether it has the mean of all or of these.
double DataParallel::squared_norm(Context& cx, Group& g, std::uint64_t step) {
  double squares = 0.0;
  bool some_averaged = false;
  local_.clear();
  for (const std::size_t b : g.buckets) {
    if (left_out_[b]) continue;
    if (is_averaged(b)) {
      some_averaged = true;
      const Tensor own = own_slice(buckets_[b].flat, *g.comm);
      squares += sum_of_squares(cx, {&own, 1});
    } else {
      local_.push_back(buckets_[b].flat);
    }
  }
  if (some_averaged) squares = sum_over_ranks(cx, *g.comm, squares);
  if (!local_.empty()) {
    squares += std::pow(g.weight * sketch_.mean_norm(cx, *g.comm, local_, step), 2);
  }
  return squares;
}

double DataParallel::mean_gradient_norm(Context& cx, std::uint64_t step) {
  const Clock::time_point begin = Clock::now();
  double squares = 0.0;
  for (Group& g : groups_) {
    const double own = squared_norm(cx, g, step);
    if (g.counts) squares += own;
  }
  if (stages_ != nullptr) squares = sum_over_ranks(cx, *stages_, squares);
  wait_seconds_ += seconds_since(begin);
  return std::sqrt(squares);
}

void DataParallel::compress_gradients(Context& cx, double weight) {
  exchanges_.clear();
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    std::optional<Exchange>& e = exchanges_.emplace_back();
    if (left_out_[b]) continue;
    if (is_averaged(b)) {
      scale(cx, buckets_[b].flat, weight);
    } else {
      e = Exchange{.what = Gradient{buckets_[b].flat, static_cast<float>(weight)}};
    }
  }
  agree(cx, exchanges_);
}

void DataParallel::agree(Context& cx, std::span<const std::optional<Exchange>> exchanges) {
  for (const Group& g : groups_)
    check(g.compressed != nullptr, ErrorKind::kInternal, "data parallel: no reducer to agree with");
  const Clock::time_point begin = Clock::now();
  std::vector<WorkPtr> beside;
  for (std::size_t b = 0; b < exchanges.size(); ++b) {
    if (!exchanges[b]) continue;
    Group& g = group_of(b);
    Exchange e = *exchanges[b];
    sum_over_ends(e, g.weight);
    g.compressed->submit(cx, places_[b].bucket, e);
    for (const Tensor& t : e.beside) {
      if (g.weight != 1.0F) scale(cx, t, g.weight);
      if (g.comm->size() == 1) continue;
      beside.push_back(g.comm->all_reduce(t, ReduceOp::kMean, {cx.stream, Traffic::kGradient, 0}));
    }
  }
  for (Group& g : groups_)
    g.compressed->finish(cx);
  for (const WorkPtr& work : beside)
    work->wait(cx.stream);
  wait_seconds_ += seconds_since(begin);
}

void DataParallel::check_replicas(Context& cx, std::int64_t step) {
  for (Group& g : groups_) {
    std::vector<Parameter*> params;
    for (const FlatBucket& b : g.layout)
      params.insert(params.end(), b.params.rbegin(), b.params.rend());
    if (&g == &groups_.front()) params.insert(params.end(), frozen_.begin(), frozen_.end());
    gradwire::check_replicas(cx, *g.comm, step, params);
  }
}

void DataParallel::visit_state(StateVisitor& v) {
  CountsOnce once(v);
  for (Group& g : groups_) {
    g.dense->visit_state(once);
    if (g.compressed) g.compressed->visit_state(once);
  }
}

std::string DataParallel::take_log_message() {
  std::string message;
  for (Group& g : groups_)
    if (g.compressed && message.empty()) message = g.compressed->take_log_message();
  return message;
}

StepBytes DataParallel::sent_bytes(int replicas) const {
  StepBytes bytes;
  for (const Group& g : groups_) {
    const int ranks = replicas * static_cast<int>(g.weight);
    for (std::size_t i = 0; i < g.layout.size(); ++i) {
      const bool compresses = g.compressed != nullptr && !g.layout[i].uncompressed;
      bytes.dense += g.dense->sent_bytes(g.layout[i], ranks);
      bytes.compressed += (compresses ? g.compressed : g.dense)->sent_bytes(g.layout[i], ranks);
    }
    if (g.compressed) bytes.compressed += NormSketch::sent_bytes(ranks);
  }
  return bytes;
}

double DataParallel::take_wait_seconds() {
  return std::exchange(wait_seconds_, 0.0);
}

}  // namespace gradwire
