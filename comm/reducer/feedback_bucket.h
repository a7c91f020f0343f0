// One bucket of a compressed reducer: what this rank carries over from step to step for it, and how
// a contribution becomes messages and the answers a result (compressed_reducer.h has the rules).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "comm/reducer/compressed_reducer.h"
#include "comm/reducer/touched_mask.h"
#include "comm/reducer/two_phase.h"
#include "comm/reducer/woken_parameters.h"

namespace gradwire {

// What all buckets of a reducer share.
struct FeedbackShared {
  const CompressionConfig& config;
  const Codec& codec;
  Communicator& comm;
  Tensor target, scratch;  // f32, as long as the longest bucket
  bool estimates() const { return config.method > Feedback::kEf; }
};

class FeedbackBucket {
 public:
  FeedbackBucket(Context& cx, const FlatBucket& layout, FeedbackShared& shared);

  // Forgets whatever was carried over but what has been touched.
  void reset_residuals(Context& cx);
  // Compresses a contribution and sends it; or starts from one that travelled as it is.
  void send(Context& cx, std::int64_t step, std::size_t index, const Exchange& e);
  void serve(Context& cx);
  void receive(Context& cx);
  // Around a dense exchange: what this rank contributes is kept, then what came of it.
  void begin_dense(const Exchange& e);
  void end_dense(const Exchange& e);

  std::int64_t elements() const { return layout_.numel(); }
  // Codec::delta_hint() of a chunk.
  double contraction() const;
  double eta() const;
  void visit_state(StateVisitor& visitor, std::string_view prefix);

 private:
  CodecKey key_of(int owner, bool as_server) const;
  std::span<const std::byte> live() const;
  void renew(Exchange::Range range);
  void recall(Context& cx);
  void send_with_feedback(bool feedback);
  void send_estimate();
  std::span<float> whole(float* x) const { return {x, static_cast<std::size_t>(layout_.numel())}; }
  void encode_chunks(const CodecInput& all, bool momentum_as_it_came);
  void decode_own(float* to);
  void decode_answers(DecodeTarget target);
  // Whether the momentum is read from the last answer. Coordinates that the mask has learnt of
  // since have none there.
  bool reads_answer() const;
  void keep_news();
  void zero_dead(const Exchange& e, float* x) const;
  void visit_server(StateVisitor& visitor, std::string_view prefix);
  bool recalls() const { return kind_of(exchange_) == ExchangeKind::kRecalledMomentum; }

  const FlatBucket& layout_;
  FeedbackShared& shared_;
  TwoPhase wire_;
  std::optional<TouchedMask> mask_;  // if the codec cannot send zeros
  WokenParameters woken_parameters_;
  Tensor error_, estimate_, velocity_, sum_;
  bool has_answer_ = false;  // of the last exchange, on the wire's buffers

  // Of the exchange under way.
  Exchange exchange_;
  Contribution mine_;  // to it; has the momentum while it is recalled, until the message is made
  std::int64_t step_ = 0;
  std::size_t index_ = 0;
  bool news_to_share_ = false;
  bool woken_ = false;
};

}  // namespace gradwire
