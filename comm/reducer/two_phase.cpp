#include "comm/reducer/two_phase.h"

#include <algorithm>

#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

}  // namespace

TwoPhase::TwoPhase(Context& cx, Communicator& comm, const Codec& codec, const FlatBucket& layout)
    : comm_(comm), n_(layout.numel()), chunks_(codec, layout, comm.size()) {
  const auto payload = static_cast<std::int64_t>(chunks_.payload_bytes());
  const std::int64_t ranks = comm.size(), own = this->own().size();
  Context buffers = cx.in(Segment::kComm);
  sent_ = Tensor::zeros(buffers, {ranks * (payload + 1)}, DType::kU8);
  residual_ = Tensor::zeros(buffers, {own}, DType::kF32);
  if (ranks == 1) return;  // what is sent is the answer
  received_ = Tensor::zeros(buffers, {ranks * (payload + 1)}, DType::kU8);
  answer_ = Tensor::zeros(buffers, {payload}, DType::kU8);
  answers_ = Tensor::zeros(buffers, {ranks * payload}, DType::kU8);
  mean_ = Tensor::zeros(buffers, {own}, DType::kF32);
}

std::int64_t TwoPhase::sent_bytes(const Codec& codec, const FlatBucket& layout, int ranks) {
  const auto payload = static_cast<std::int64_t>(ChunkCodec(codec, layout, ranks).payload_bytes());
  return (ranks - 1) * (payload + 1 + payload);
}

std::span<std::byte> TwoPhase::slot(const Tensor& buffer, int i) const {
  const std::size_t size =
      static_cast<std::size_t>(buffer.numel()) / static_cast<std::size_t>(comm_.size());
  return {static_cast<std::byte*>(buffer.raw()) + static_cast<std::size_t>(i) * size, size};
}

std::span<std::byte> TwoPhase::payload(int owner) {
  return slot(sent_, owner).first(chunks_.payload_bytes());
}

void TwoPhase::start(Context& cx, std::byte flags) {
  for (int r = 0; r < comm_.size(); ++r)
    slot(sent_, r).back() = flags;
  if (comm_.size() == 1) return;
  const std::int64_t dense = dense_exchange_bytes(n_, comm_.size());
  scatter_ = comm_.all_to_all(sent_, received_, {cx.stream, Traffic::kGradient, dense});
}

std::byte TwoPhase::collect(Context& cx, std::span<const std::byte> live) {
  if (comm_.size() == 1) return slot(sent_, 0).back();
  scatter_->wait(cx.stream);
  const std::int64_t size = mean_.numel();
  const std::span<float> mean{mean_.data<float>(), static_cast<std::size_t>(size)};
  DecodeTarget target{.to = mean, .live = live};
  std::byte flags{0};
  // Added up as they are and scaled once, in the order of the ranks: so does the dense reducer.
  for (int r = 0; r < comm_.size(); ++r) {
    const std::span<const std::byte> from = slot(received_, r);
    flags |= from.back();
    target.add = r > 0;
    for_each_own_piece(
        [&](const ChunkCodec::Piece& p) { chunks_.decode(p, from, target, own().begin); });
  }
  const float share = 1.0F / static_cast<float>(comm_.size());
  parallel_for(size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      mean_.data<float>()[i] *= share;
  });
  return flags;
}

void TwoPhase::reply(Context& cx, const CodecKey& key, std::span<const std::byte> live,
                     bool feedback) {
  if (comm_.size() == 1) return;
  const auto size = static_cast<std::size_t>(mean_.numel());
  CodecInput in{.x = {mean_.data<float>(), size}, .live = live, .known_finite = true};
  if (feedback) in.residual = {residual_.data<float>(), size};
  const std::span<std::byte> out{static_cast<std::byte*>(answer_.raw()), chunks_.payload_bytes()};
  for_each_own_piece(
      [&](const ChunkCodec::Piece& p) { chunks_.encode(p, in, own().begin, key, out); });
  gather_ = comm_.all_gather(answer_, answers_, {cx.stream, Traffic::kGradient, 0});
}

void TwoPhase::finish(Context& cx) {
  if (comm_.size() > 1) gather_->wait(cx.stream);
}

std::span<const std::byte> TwoPhase::answer(int owner) const {
  return comm_.size() > 1 ? slot(answers_, owner)
                          : slot(sent_, owner).first(chunks_.payload_bytes());
}

}  // namespace gradwire
