#include "comm/reducer/feedback_bucket.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "comm/reducer/feedback_kernels.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

// What a rank tells the others along with its messages.
constexpr std::byte kNews{1};   // it touches what nobody has yet
constexpr std::byte kWoken{2};  // a coordinate that takes no part has a value

float* at(const Tensor& t, std::int64_t i) {
  return t ? t.data<float>() + i : nullptr;
}

}  // namespace

FeedbackBucket::FeedbackBucket(Context& cx, const FlatBucket& layout, FeedbackShared& shared)
    : layout_(layout),
      shared_(shared),
      wire_(cx, shared.comm, shared.codec, layout),
      woken_parameters_(cx, shared.comm, layout) {
  Context buffers = cx.in(Segment::kComm);
  const auto zeros = [&] { return Tensor::zeros(buffers, {layout.numel()}, DType::kF32); };
  const Feedback method = shared.config.method;
  if (!shared.codec.keeps_zero()) mask_.emplace(cx, shared.comm, layout);
  if (method != Feedback::kEf21 && method != Feedback::kEf21Sgdm) error_ = zeros();
  if (method == Feedback::kEf21Sgdm) velocity_ = zeros();
  if (!shared.estimates()) return;
  estimate_ = zeros();
  sum_ = zeros();
}

double FeedbackBucket::contraction() const {
  return shared_.codec.delta_hint(wire_.chunks().chunk(0).size());
}

double FeedbackBucket::eta() const {
  return shared_.config.eta.value_or(contraction());
}

// Stochastic codecs draw other numbers on every rank, so that errors average out; a codec that
// picks elements must pick the same everywhere, on the way back as well.
CodecKey FeedbackBucket::key_of(int owner, bool as_server) const {
  std::uint64_t seed = shared_.config.seed;
  if (!shared_.codec.shares_key()) {
    const auto rank = static_cast<std::uint64_t>(shared_.comm.rank());
    seed = derive_seed(derive_seed(seed, rank), as_server ? "owner" : "worker");
  }
  const auto chunk = index_ * static_cast<std::size_t>(shared_.comm.size());
  return {seed, static_cast<std::uint64_t>(step_), chunk + static_cast<std::size_t>(owner)};
}

std::span<const std::byte> FeedbackBucket::live() const {
  if (exchange_.live) {
    return {static_cast<const std::byte*>(exchange_.live.raw()),
            static_cast<std::size_t>(exchange_.live.numel())};
  }
  return mask_ ? mask_->bits() : std::span<const std::byte>{};
}

void FeedbackBucket::reset_residuals(Context& cx) {
  for (const Tensor& carried : {error_, estimate_, velocity_, sum_, wire_.residual()})
    if (carried) fill(cx, carried, 0.0);
  has_answer_ = false;
}

// With the momentum as what all ranks have brought and agreed on, the sum of the answers, and what
// owners still owe of it, nothing, is the mean of the estimates.
void FeedbackBucket::renew(Exchange::Range range) {
  const std::int64_t n = range.end - range.begin;
  if (error_) std::fill_n(at(error_, range.begin), n, 0.0F);
  const ChunkCodec::Chunk own = wire_.chunks().chunk(shared_.comm.rank());
  const std::int64_t begin = std::clamp(range.begin, own.begin, own.end);
  const std::int64_t end = std::clamp(range.end, own.begin, own.end);
  std::fill_n(at(wire_.residual(), begin - own.begin), end - begin, 0.0F);
  for (const Tensor& estimate : {estimate_, velocity_, sum_}) {
    if (!estimate) continue;
    if (mine_.momentum) {
      std::copy_n(at(mine_.momentum, range.begin), n, at(estimate, range.begin));
    } else {
      std::fill_n(at(estimate, range.begin), n, 0.0F);
    }
  }
  has_answer_ = false;
}

void FeedbackBucket::send(Context& cx, std::int64_t step, std::size_t index, const Exchange& e) {
  exchange_ = e;
  mine_ = contribution_of(e);
  step_ = step;
  index_ = index;
  for (const Exchange::Range range : e.renewed)
    renew(range);
  if (recalls()) recall(cx);
  const bool news = mask_ && !e.live && mask_->has_news(mine_.value);
  const std::byte woken = woken_parameters_.note(e) ? kWoken : std::byte{0};
  if (shared_.estimates()) {
    send_estimate();
  } else {
    send_with_feedback(shared_.config.method == Feedback::kEf);
  }
  if (news) keep_news();
  wire_.start(cx, (news ? kNews : std::byte{0}) | woken);
}

bool FeedbackBucket::reads_answer() const {
  const Codec& codec = shared_.codec;
  const auto* const kept = std::get_if<Momentum>(&exchange_.what);
  const bool wanted =
      recalls() ? codec.has_blocks() : kept != nullptr && kept->as_agreed && codec.reads_fast();
  return has_answer_ && wanted && !shared_.estimates() && (exchange_.live || !mask_);
}

// The momentum is read as it travelled, or takes the scratch buffer, until the message is made.
void FeedbackBucket::recall(Context& cx) {
  if (reads_answer()) return;
  mine_.momentum = shared_.scratch.slice(0, layout_.numel());
  if (!has_answer_) return std::get<RecalledMomentum>(exchange_.what).fill(cx, mine_.momentum);
  float* const to = mine_.momentum.data<float>();
  if (!live().empty()) std::fill_n(to, layout_.numel(), 0.0F);
  decode_answers({.to = whole(to)});
}

// The codec's own fused pass: contribution, residual and code in one visit of memory.
void FeedbackBucket::send_with_feedback(bool feedback) {
  if (!feedback) std::fill_n(error_.data<float>(), error_.numel(), 0.0F);
  CodecInput in{.x = whole(mine_.value.data<float>()),
                .weight = mine_.weight,
                .residual = whole(error_.data<float>())};
  if (mine_.momentum && !reads_answer()) in.momentum = whole(mine_.momentum.data<float>());
  in.beta = mine_.beta;
  encode_chunks(in, reads_answer());
  if (recalls()) mine_.momentum = {};
}

void FeedbackBucket::encode_chunks(const CodecInput& all, bool momentum_as_it_came) {
  const ChunkCodec& chunks = wire_.chunks();
  chunks.for_each_piece(0, shared_.comm.size(), [&](const ChunkCodec::Piece& piece) {
    CodecInput in = all;
    in.live = live();
    if (momentum_as_it_came) in.momentum_code = wire_.answer(piece.owner);
    in.known_finite = true;
    chunks.encode(piece, in, 0, key_of(piece.owner, false), wire_.payload(piece.owner));
  });
}

// target = x - h and c = target + eta e; what was sent of c goes where c was. Coordinates that the
// exchange leaves out have no target: they would take the codec's picks, and grow in e for ever.
void FeedbackBucket::send_estimate() {
  const std::int64_t n = layout_.numel();
  const FeedbackKernels& loops = feedback_kernels();
  float* const u = shared_.target.data<float>();
  float* const c = shared_.scratch.data<float>();
  const FeedbackArrays kept{at(error_, 0), at(estimate_, 0)};
  parallel_for(n, kGrain, [&](std::int64_t b, std::int64_t e) {
    loops.contribution(at(mine_.value, b), at(mine_.momentum, b), mine_.weight, mine_.beta, e - b,
                       u + b);
    if (velocity_) {
      const auto weight = static_cast<float>(shared_.config.sgdm_beta);
      loops.smooth(weight, e - b, at(velocity_, b), u + b);
    }
    loops.target(kept.from(b), static_cast<float>(eta()), e - b, u + b, c + b);
    if (!exchange_.live) return;
    for (float* const x : {u, c})
      loops.zero_dead(static_cast<const std::byte*>(exchange_.live.raw()) + b / 8, e - b, x + b);
  });
  encode_chunks({.x = {c, static_cast<std::size_t>(n)}}, false);
  decode_own(c);
  parallel_for(n, kGrain, [&](std::int64_t b, std::int64_t e) {
    loops.settle(kept.from(b), u + b, c + b, e - b);
  });
}

// What this rank has just sent.
void FeedbackBucket::decode_own(float* to) {
  if (!live().empty()) std::fill_n(to, layout_.numel(), 0.0F);
  const DecodeTarget target{.to = whole(to), .live = live()};
  wire_.chunks().for_each_piece(0, shared_.comm.size(), [&](const ChunkCodec::Piece& piece) {
    wire_.chunks().decode(piece, wire_.payload(piece.owner), target, 0);
  });
}

void FeedbackBucket::decode_answers(DecodeTarget target) {
  target.live = live();
  wire_.chunks().for_each_piece(0, shared_.comm.size(), [&](const ChunkCodec::Piece& piece) {
    wire_.chunks().decode(piece, wire_.answer(piece.owner), target, 0);
  });
}

// Nobody can take these coordinates from this rank yet: they wait in the residual, which estimators
// see to by themselves.
void FeedbackBucket::keep_news() {
  if (shared_.estimates()) return;
  const float part = mine_.momentum ? (1.0F - mine_.beta) * mine_.weight : mine_.weight;
  const bool feedback = shared_.config.method == Feedback::kEf;
  mask_->for_each_news([&](std::int64_t i) {
    if (feedback) error_.data<float>()[i] += part * mine_.value.data<float>()[i];
    if (!mine_.momentum) mine_.value.data<float>()[i] = 0.0F;
  });
}

void FeedbackBucket::serve(Context& cx) {
  const std::byte told = wire_.collect(cx, live());
  news_to_share_ = (told & kNews) != std::byte{0};
  woken_ = (told & kWoken) != std::byte{0};
  const int rank = shared_.comm.rank();
  wire_.reply(cx, key_of(rank, true), live(), shared_.config.method != Feedback::kPlain);
}

void FeedbackBucket::receive(Context& cx) {
  wire_.finish(cx);
  float* const answer = mine_.result().data<float>();
  const std::int64_t n = layout_.numel();
  if (!shared_.estimates()) {
    decode_answers({.to = whole(answer), .done = exchange_.use});
  } else {
    decode_answers({.to = whole(sum_.data<float>()), .add = true});
    std::copy_n(sum_.data<float>(), n, answer);
    use_all(exchange_, n);
  }
  has_answer_ = true;
  if (std::exchange(news_to_share_, false)) mask_->share(cx);
  if (woken_) woken_parameters_.tell(cx, exchange_);
  exchange_ = {};
  mine_ = {};
}

void FeedbackBucket::begin_dense(const Exchange& e) {
  if (!shared_.estimates()) return;
  const Contribution mine = contribution_of(e);
  feedback_kernels().contribution(at(mine.value, 0), at(mine.momentum, 0), mine.weight, mine.beta,
                                  layout_.numel(), at(estimate_, 0));
  zero_dead(e, at(estimate_, 0));
  if (velocity_) std::copy_n(at(estimate_, 0), layout_.numel(), at(velocity_, 0));
}

// What the exchange leaves out is nobody's contribution, and nobody's answer.
void FeedbackBucket::zero_dead(const Exchange& e, float* x) const {
  if (!e.live) return;
  feedback_kernels().zero_dead(static_cast<const std::byte*>(e.live.raw()), layout_.numel(), x);
}

void FeedbackBucket::end_dense(const Exchange& e) {
  const Tensor answer = contribution_of(e).result();
  zero_dead(e, at(answer, 0));
  if (mask_) mask_->learn(answer);
  if (shared_.estimates()) std::copy_n(at(answer, 0), layout_.numel(), at(sum_, 0));
  has_answer_ = false;
}

void FeedbackBucket::visit_state(StateVisitor& visitor, std::string_view prefix) {
  const auto visit = [&](const char* what, Tensor& t, Share share) {
    for (std::size_t i = 0; t && i < layout_.params.size(); ++i) {
      Tensor part = layout_.view_in(t, i);
      visitor.tensor(fmt::format("{}/{}/{}", prefix, what, layout_.params[i]->name), part, share);
    }
  };
  visit("e", error_, Share::kMean);
  visit("h", estimate_, Share::kMean);
  visit("v", velocity_, Share::kMean);
  visit("sum", sum_, Share::kReplicated);
  visit_server(visitor, prefix);
  has_answer_ = false;  // the visitor may bring another
  if (mask_) mask_->visit_state(visitor, prefix, layout_);
}

// The part of the owner's residual that lies in each parameter.
void FeedbackBucket::visit_server(StateVisitor& visitor, std::string_view prefix) {
  const ChunkCodec::Chunk own = wire_.chunks().chunk(shared_.comm.rank());
  for (std::size_t i = 0; i < layout_.params.size(); ++i) {
    const std::int64_t first = layout_.begins[i];
    const std::int64_t full = layout_.params[i]->value.numel();
    const std::int64_t begin = std::clamp(own.begin, first, first + full);
    const std::int64_t end = std::clamp(own.end, begin, first + full);
    Tensor part = begin < end ? wire_.residual().slice(begin - own.begin, end - own.begin)
                              : wire_.residual().slice(0, 0);
    visitor.slice(fmt::format("{}/server/{}", prefix, layout_.params[i]->name), part, begin - first,
                  full);
  }
}

}  // namespace gradwire
