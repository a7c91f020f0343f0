#include "comm/reducer/chunk_codec.h"

#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::int64_t kAlign = 8;  // bits of a byte

std::int64_t chunk_size(std::int64_t n, int ranks) {
  const std::int64_t part = (n + ranks - 1) / ranks;
  return (part + kAlign - 1) / kAlign * kAlign;
}

template <class T>
std::span<T> part_of(std::span<T> all, std::int64_t begin, std::int64_t size) {
  if (all.empty()) return all;
  return all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
}

std::span<const std::byte> bits_of(std::span<const std::byte> live,
                                   const ChunkCodec::Piece& piece) {
  return part_of(live, piece.begin / kAlign, (piece.size() + kAlign - 1) / kAlign);
}

}  // namespace

ChunkCodec::ChunkCodec(const Codec& codec, const FlatBucket& layout, int ranks)
    : codec_(codec), n_(layout.numel()), chunk_(chunk_size(n_, ranks)) {
  for (const std::int64_t begin : layout.begins)
    check(begin % kAlign == 0, ErrorKind::kUsage,
          "bucket: a parameter begins inside a byte of bits");
  for (int owner = 0; owner < ranks; ++owner) {
    first_piece_.push_back(pieces_.size());
    add_chunk(owner, layout);
  }
  first_piece_.push_back(pieces_.size());
}

void ChunkCodec::add_chunk(int owner, const FlatBucket& layout) {
  const Chunk whole = chunk(owner);
  Piece piece{.owner = owner, .begin = whole.begin};
  const auto end_at = [&](std::int64_t end) {
    if (end <= piece.begin) return;
    piece.end = end;
    piece.bytes = codec_.max_bytes(piece.size());
    pieces_.push_back(piece);
    piece.begin = end;
    piece.at += piece.bytes;
    ++piece.index;
  };
  if (codec_.shares_scales()) {
    const auto first = std::ranges::upper_bound(layout.begins, whole.begin);
    for (auto border = first; border != layout.begins.end() && *border < whole.end; ++border)
      end_at(*border);
  }
  end_at(whole.end);
  payload_bytes_ = std::max(payload_bytes_, piece.at);
}

ChunkCodec::Chunk ChunkCodec::chunk(int owner) const {
  return {std::min(n_, owner * chunk_), std::min(n_, (owner + 1) * chunk_)};
}

void ChunkCodec::encode(const Piece& piece, const CodecInput& in, std::int64_t origin,
                        const CodecKey& key, std::span<std::byte> payload) const {
  const std::int64_t begin = piece.begin - origin, size = piece.size();
  CodecInput part = in;
  part.x = part_of(in.x, begin, size);
  part.residual = part_of(in.residual, begin, size);
  part.momentum = part_of(in.momentum, begin, size);
  part.live = bits_of(in.live, piece);
  if (!in.momentum_code.empty())
    part.momentum_code = in.momentum_code.subspan(piece.at, piece.bytes);
  // Other random numbers for every piece; of a single one those of its chunk.
  const CodecKey own{key.seed, key.step, key.tensor + (piece.index << 32)};
  codec_.encode(part, own, payload.subspan(piece.at, piece.bytes));
}

void ChunkCodec::decode(const Piece& piece, std::span<const std::byte> payload,
                        const DecodeTarget& target, std::int64_t origin) const {
  DecodeTarget part = target;
  part.to = part_of(target.to, piece.begin - origin, piece.size());
  part.live = bits_of(target.live, piece);
  if (target.done) {
    part.done = [&](std::int64_t begin, std::int64_t end, const float* values) {
      target.done(piece.begin + begin, piece.begin + end, values);
    };
  }
  codec_.decode(payload.subspan(piece.at, piece.bytes), part);
}

}  // namespace gradwire
