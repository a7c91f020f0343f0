// How the chunks of a bucket become payloads, piece by piece. If a codec gives several elements one
// scale, no piece holds elements of two parameters: their gradients differ by orders of magnitude,
// and the largest would set the scale of all. (1-bit LAMB scales momenta to one size for the same
// reason: Li et al., "1-bit LAMB", HiPC 2022, section 3.) A payload has its pieces one after
// another, so a parameter costs the scale of one block more. One object per bucket; keeps nothing
// of what is encoded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/codec/codec.h"
#include "core/flat_bucket.h"
#include "core/parallel_for.h"

namespace gradwire {

class ChunkCodec {
 public:
  // A bucket of this layout in one chunk for each of `ranks` owners, all of them equally long but
  // the last. Chunks and pieces begin at multiples of 8 elements, so that masks can be cut as well.
  // `codec` must outlive it. Errors: kUsage for a parameter that begins elsewhere.
  ChunkCodec(const Codec& codec, const FlatBucket& layout, int ranks);

  struct Chunk {
    std::int64_t begin = 0, end = 0;
    std::int64_t size() const { return end - begin; }
  };
  Chunk chunk(int owner) const;
  // Of the longest chunk's payload at most.
  std::size_t payload_bytes() const { return payload_bytes_; }

  struct Piece {
    int owner = 0;
    std::uint64_t index = 0;          // in its chunk
    std::int64_t begin = 0, end = 0;  // in the bucket
    std::size_t at = 0, bytes = 0;    // in its chunk's payload
    std::int64_t size() const { return end - begin; }
  };
  // f(piece) for all pieces of the chunks [first, last), by all threads: those of one long piece,
  // or each with pieces of its own.
  template <class F>
  void for_each_piece(int first, int last, const F& f) const;

  // Encodes a piece of what begins at element `origin` of the bucket, but `in.live` has the bits of
  // the whole bucket, or none, and `in.momentum_code` is the payload of the whole chunk, or empty.
  // `key` is the chunk's, `payload` that of the whole chunk.
  void encode(const Piece& piece, const CodecInput& in, std::int64_t origin, const CodecKey& key,
              std::span<std::byte> payload) const;
  // Decodes a piece to where it belongs in a target that begins at `origin`. `target.live` has the
  // bits of the whole bucket, or none; `target.done` gets places in the bucket.
  void decode(const Piece& piece, std::span<const std::byte> payload, const DecodeTarget& target,
              std::int64_t origin) const;

 private:
  // Pieces that are longer are cut among the threads by the codec.
  static constexpr std::int64_t kLong = std::int64_t{1} << 17;
  void add_chunk(int owner, const FlatBucket& layout);
  std::span<const Piece> pieces_of(int first, int last) const {
    const auto begin = first_piece_[static_cast<std::size_t>(first)];
    return std::span(pieces_).subspan(begin, first_piece_[static_cast<std::size_t>(last)] - begin);
  }

  const Codec& codec_;
  std::int64_t n_, chunk_;
  std::vector<Piece> pieces_;             // chunk after chunk
  std::vector<std::size_t> first_piece_;  // by chunk, and the end
  std::size_t payload_bytes_ = 0;
};

template <class F>
void ChunkCodec::for_each_piece(int first, int last, const F& f) const {
  const std::span<const Piece> pieces = pieces_of(first, last);
  for (const Piece& piece : pieces)
    if (piece.size() > kLong) f(piece);
  parallel_for(std::ssize(pieces), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      if (piece.size() <= kLong) f(piece);
    }
  });
}

}  // namespace gradwire
