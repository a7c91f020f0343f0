#include "comm/reducer/compressed_reducer.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "comm/reducer/feedback_bucket.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/reducer_methods.h"

namespace gradwire {
namespace {

constexpr std::array kMethods = {Feedback::kPlain, Feedback::kEf, Feedback::kEf21,
                                 Feedback::kEf21Sgdm, Feedback::kEcontrol};

constexpr std::int64_t kAnyLength = 4096;  // at which every codec that sends a sure part does so

class CompressedReducer final : public Reducer {
 public:
  CompressedReducer(Context& cx, Communicator& comm, std::span<const FlatBucket> layout,
                    const CompressionConfig& config)
      : config_(config),
        comm_(comm),
        codec_(make_codec(config.codec)),
        dense_(make_dense_reducer(comm)),
        layout_(layout.begin(), layout.end()),
        shared_{config_, *codec_, comm, {}, {}} {
    if (shared_.estimates()) {
      shared_.target = longest_bucket(cx);
      shared_.scratch = longest_bucket(cx);
    }
    for (const FlatBucket& b : layout_) {
      buckets_.emplace_back();
      if (!b.uncompressed) buckets_.back().emplace(cx, b, shared_);
    }
    submitted_.reserve(layout_.size());
  }

  // All buckets are sent before waiting on the first, and the aggregates likewise.
  void finish(Context& cx) override {
    dense_->finish(cx);
    for (const Submitted& s : submitted_) {
      if (s.dense) {
        buckets_[s.bucket]->end_dense(s.exchange);
        use_all(s.exchange, layout_[s.bucket].numel());
      } else {
        buckets_[s.bucket]->serve(cx);
      }
    }
    for (const Submitted& s : submitted_) {
      if (!s.dense) buckets_[s.bucket]->receive(cx);
    }
    submitted_.clear();
    ++steps_;
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    return TwoPhase::sent_bytes(*codec_, bucket, ranks);
  }

  std::string take_log_message() override {
    if (config_.method != Feedback::kEcontrol || warned_ || buckets_.empty()) return {};
    const auto elements = [](const auto& b) { return b ? b->elements() : -1; };
    const std::optional<FeedbackBucket>& found = *std::ranges::max_element(buckets_, {}, elements);
    if (!found) return {};
    const FeedbackBucket& largest = *found;
    constexpr double kEdge = 4.0;
    if (largest.eta() < kEdge * largest.contraction()) return {};
    warned_ = true;
    return fmt::format(
        "warning: econtrol with eta {:.3g} and a codec that keeps {:.3g} of what it is given: from "
        "two to three times that on it diverges",
        largest.eta(), largest.contraction());
  }

  ExchangeKinds supports() const override { return supported_by(name()); }
  const char* name() const override { return name_of(config_.method); }

  void visit_state(StateVisitor& visitor) override {
    visitor.number(fmt::format("{}/steps", name_of(config_.method)), steps_);
    for (std::optional<FeedbackBucket>& b : buckets_)
      if (b) b->visit_state(visitor, name());
  }

 private:
  Tensor longest_bucket(Context& cx) const {
    std::int64_t longest = 0;
    for (const FlatBucket& b : layout_)
      if (!b.uncompressed) longest = std::max(longest, b.numel());
    Context buffers = cx.in(Segment::kComm);
    return Tensor::zeros(buffers, {longest}, DType::kF32);
  }

  FeedbackBucket& at(std::size_t bucket) {
    check(!layout_.at(bucket).uncompressed, ErrorKind::kUsage,
          "compression: an uncompressed bucket");
    return *buckets_[bucket];
  }

  void do_submit(Context& cx, std::size_t bucket, const Exchange& e) override {
    FeedbackBucket& own = at(bucket);
    if (kind_of(e) == ExchangeKind::kRecalledMomentum) prepare_recall(cx);
    const bool first = steps_ == 0 || e.reset_residuals;
    const bool dense = first && (shared_.estimates() || (!codec_->keeps_zero() && !e.live));
    submitted_.push_back({bucket, dense, e});
    try {
      if (dense) {
        own.begin_dense(e);
        Exchange all = e;
        all.live = {};
        all.use = {};
        dense_->submit(cx, bucket, all);
      } else {
        own.send(cx, steps_, bucket, e);
      }
    } catch (const Error& error) {
      // The others would wait for this rank's part of the exchange.
      comm_.abort(fmt::format("rank {}: {}", comm_.rank(), error.what()));
      throw;
    }
  }
  void do_reset_residuals(Context& cx, std::size_t bucket) override {
    at(bucket).reset_residuals(cx);
  }

  void prepare_recall(Context& cx) {
    if (!shared_.scratch) shared_.scratch = longest_bucket(cx);
  }

  struct Submitted {
    std::size_t bucket;
    bool dense;
    Exchange exchange;
  };

  CompressionConfig config_;
  Communicator& comm_;
  std::unique_ptr<Codec> codec_;
  std::unique_ptr<Reducer> dense_;
  std::vector<FlatBucket> layout_;
  FeedbackShared shared_;
  std::deque<std::optional<FeedbackBucket>> buckets_;  // which hold on to layout_ and shared_
  std::vector<Submitted> submitted_;
  std::int64_t steps_ = 0;
  bool warned_ = false;
};

}  // namespace

const char* name_of(Feedback method) {
  switch (method) {
    case Feedback::kPlain: return "plain";
    case Feedback::kEf: return "ef";
    case Feedback::kEf21: return "ef21";
    case Feedback::kEf21Sgdm: return "ef21_sgdm";
    case Feedback::kEcontrol: return "econtrol";
  }
  return "?";
}

Feedback feedback_named(std::string_view name) {
  for (const Feedback method : kMethods) {
    if (name == name_of(method)) return method;
  }
  throw Error(ErrorKind::kConfig, fmt::format("no method of feedback '{}'", name));
}

std::unique_ptr<Reducer> make_compressed_reducer(Context& cx, Communicator& comm,
                                                 std::span<const FlatBucket> layout,
                                                 const CompressionConfig& config) {
  const double eta = config.eta.value_or(0.0);
  if (!(eta >= 0.0) || !(config.sgdm_beta > 0.0 && config.sgdm_beta <= 1.0)) {
    throw Error(ErrorKind::kConfig, fmt::format("compression: needs eta >= 0 and sgdm_beta in (0, "
                                                "1], got {} and {}",
                                                eta, config.sgdm_beta));
  }
  if (config.method == Feedback::kEcontrol && !config.eta &&
      !(make_codec(config.codec)->delta_hint(kAnyLength) > 0.0)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("compression: econtrol has no strength of its own with {}, which keeps "
                            "no sure part of what it is given: set eta",
                            config.codec.name));
  }
  on_device(
      cx.stream.device, [](Device) {}, [](auto) { no_cuda_kernel("compressed exchange"); });
  return std::make_unique<CompressedReducer>(cx, comm, layout, config);
}

}  // namespace gradwire
