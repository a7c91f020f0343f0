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

#include "comm/codec/codec.h"
#include "comm/communicator.h"

namespace gradwire {

class TwoPhase {
 public:
  // For n elements. `codec` and `comm` must outlive it. Chunks begin at multiples of 8 elements.
  TwoPhase(Context& cx, Communicator& comm, const Codec& codec, std::int64_t n);

  // What each of `ranks` ranks sends in both phases.
  static std::int64_t sent_bytes(const Codec& codec, std::int64_t n, int ranks);

  struct Chunk {
    std::int64_t begin = 0, end = 0;
    std::int64_t size() const { return end - begin; }
    // That part of a bucket's elements, and of its bits.
    template <class T>
    std::span<T> of(T* bucket) const {
      return {bucket + begin, static_cast<std::size_t>(size())};
    }
    std::span<const std::byte> bits_of(const std::byte* bits) const {
      return {bits + begin / 8, static_cast<std::size_t>((size() + 7) / 8)};
    }
  };
  Chunk chunk(int owner) const;

  // Where this rank's payload of a chunk goes before start().
  std::span<std::byte> payload(int owner);
  // Sends them; `news` is a flag that reaches all ranks along with them.
  void start(Context& cx, bool news);
  // Waits and averages. `live` as in Exchange, of the whole bucket, or empty. True: some rank's
  // news flag was set.
  bool collect(Context& cx, std::span<const std::byte> live);
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

  Communicator& comm_;
  const Codec& codec_;
  std::int64_t n_;
  std::int64_t chunk_;             // elements; the last may have fewer
  std::size_t payload_bytes_ = 0;  // of a whole chunk at most
  Tensor sent_, received_;         // u8 [ranks, payload and flag]
  Tensor answer_, answers_;        // u8 [payload], u8 [ranks, payload]
  Tensor mean_, residual_;         // f32 [own chunk]
  WorkPtr scatter_, gather_;
};

}  // namespace gradwire
