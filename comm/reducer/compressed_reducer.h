// Reducers that send few bytes and make up for what a codec loses by error feedback. All of them
// are one loop around one exchange (two_phase.h): a worker's message D approximates what it has to
// say, and what was lost stays with it. For a contribution x (the gradient, or the new momentum),
// residual e and estimate h of this rank,
//   D = C(eta e + x - h),   e += x - h - D,   h += D        (Gao, Islamov & Stich, "EControl", ICLR
//                                                             2024, algorithm 1)
// of which the others are special cases:
//   ef         h = 0, eta = 1: classic error feedback (Seide et al., 2014; Stich & Karimireddy,
//              "The error-feedback framework", JMLR 2020), EF14 in Richtarik's counting
//   ef21       eta = 0 (Richtarik, Sokolov & Fatkhullin, NeurIPS 2021)
//   ef21_sgdm  the same on v = (1 - b) v + b x (Fatkhullin, Tyurin & Richtarik, NeurIPS 2023)
//   plain      D = C(x): nothing is made up for. To compare with.
// ef and plain answer with the mean of the D, the others with the running sum of those means, which
// estimates the mean of the x. What the chunks' owners lose on the way back is made up for too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "comm/codec/codec.h"
#include "comm/reducer/reducer.h"
#include "core/flat_bucket.h"

namespace gradwire {

enum class Feedback : std::uint8_t { kPlain, kEf, kEf21, kEf21Sgdm, kEcontrol };
const char* name_of(Feedback method);
// "plain", "ef", "ef21", "ef21_sgdm" or "econtrol"; Error(kConfig) otherwise.
Feedback feedback_named(std::string_view name);

struct CompressionConfig {
  Feedback method = Feedback::kEf;
  CodecConfig codec{};
  // EControl's strength. None: the codec's delta_hint(), which is near the best and well below
  // where it diverges (bench/econtrol_table); Gao et al.'s theory asks for a 400th of it.
  std::optional<double> eta{};
  double sgdm_beta = 0.1;  // b, above
  std::uint64_t seed = 1;  // of codecs that draw random numbers
};

// The estimators' first step, and that of a codec that cannot send zeros (unless the exchange says
// which coordinates live), travels as it is, and so does the first after residuals are reset: h
// starts as x, and what no rank has ever touched stays
// untouched for good. Later, a coordinate that some rank touches first waits for a step in its
// residual until all ranks know. One rank alone compresses just as several do, without the way
// back.
//
// State, by parameter: <method>/e, /h, /v (of each rank, Share::kMean), /sum and /touched
// (replicated), /server (slices), so that on another number of ranks
// the mean of the residuals stays. Buckets of the layout that are uncompressed have no state and no
// buffers, and are not submitted. `comm` and the parameters must outlive it. Errors: kConfig.
std::unique_ptr<Reducer> make_compressed_reducer(Context& cx, Communicator& comm,
                                                 std::span<const FlatBucket> layout,
                                                 const CompressionConfig& config);

}  // namespace gradwire
