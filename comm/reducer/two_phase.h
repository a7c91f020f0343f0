// How compressed messages become one answer without growing with the number of ranks: a bucket is
// cut into one chunk per rank, every rank sends each chunk's payload to the chunk's owner
// (all-to-all), the owner averages what it got, compresses the mean again with a residual of its
// own and sends it to all (all-gather). A rank sends 2 (n-1)/n of a payload. (Tang et al., "1-bit
// Adam", ICML 2021, section 4.3.) One object per bucket; owns its buffers and the owner's residual.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/reducer/chunk_codec.h"

namespace gradwire {

class TwoPhase {
 public:
  // For a bucket of this layout. `codec` and `comm` must outlive it.
  TwoPhase(Context& cx, Communicator& comm, const Codec& codec, const FlatBucket& layout);

  // What each of `ranks` ranks sends in both phases.
  static std::int64_t sent_bytes(const Codec& codec, const FlatBucket& layout, int ranks);

  const ChunkCodec& chunks() const { return chunks_; }

  // Where this rank's payload of a chunk goes before start().
  std::span<std::byte> payload(int owner);
  // Sends them; the bits of `flags` reach all ranks along with them.
  void start(Context& cx, std::byte flags);
  // Waits and averages. `live` as in Exchange, of the whole bucket, or empty. Gives the bits
  // that were set on any rank.
  std::byte collect(Context& cx, std::span<const std::byte> live);
  // The mean of the own chunk after collect(), f32; the owner may change it. One rank has none.
  const Tensor& mean() const { return mean_; }
  // Compresses the mean and sends it on. `live` as above. The residual takes part unless `feedback`
  // is off.
  void reply(Context& cx, const CodecKey& key, std::span<const std::byte> live, bool feedback);
  // Waits for the answers of all owners.
  void finish(Context& cx);
  std::span<const std::byte> answer(int owner) const;

  Tensor& residual() { return residual_; }  // f32 [own chunk]

 private:
  std::span<std::byte> slot(const Tensor& buffer, int i) const;

  ChunkCodec::Chunk own() const { return chunks_.chunk(comm_.rank()); }
  template <class F>
  void for_each_own_piece(const F& f) const {
    chunks_.for_each_piece(comm_.rank(), comm_.rank() + 1, f);
  }

  Communicator& comm_;
  std::int64_t n_;
  ChunkCodec chunks_;
  Tensor sent_, received_;   // u8 [ranks, payload and flag]
  Tensor answer_, answers_;  // u8 [payload], u8 [ranks, payload]
  Tensor mean_, residual_;   // f32 [own chunk]
  WorkPtr scatter_, gather_;
};

}  // namespace gradwire
