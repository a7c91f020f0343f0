// What the ranks are to agree on, for one bucket: optimizers name it, reducers carry it out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace gradwire {

constexpr float kLeastGradient = 1e-18F;

struct Exchange {
  Tensor value;         // f32 [n], this rank's; becomes the mean over the ranks of weight * value
  float weight = 1.0F;  // clipping, loss scale; the same on all ranks
  // If there is a momentum (f32 [n], the same on all ranks), the ranks agree on the mean of
  // beta * momentum + (1 - beta) * weight * value instead, which replaces the momentum; the value
  // is left as it is.
  Tensor momentum{};
  float beta = 0.0F;
  // u8 [ceil(n/8)], the same on all ranks, or empty: coordinates whose bit (little-endian) is clear
  // take no part; a momentum there must be zero, and stays so.
  Tensor live{};
  // Called on all ranks, once the exchange is done, if on any of them the value is not zero at a
  // coordinate that takes no part, and large enough for its square to be a normal float
  // (kLeastGradient): by parameter of the bucket, 1 if it has such a coordinate, the same on all
  // ranks. Not after an exchange that travels as it is.
  using Woken = std::function<void(std::span<const std::uint8_t> parameters)>;
  Woken woken{};
  // The first exchange of its kind after steps without: whatever the reducer has carried over for
  // the bucket (residuals, estimates, what came of the last exchange) belongs to a stage that is
  // over, and starts anew as in a new reducer. The same on all ranks.
  bool reset_residuals = false;
  // Elements from which on, and until which, coordinates take part that did not in the last
  // exchange or the other way round: what the reducer has carried over for them starts anew, as if
  // the momentum, which all ranks have alike, were what all had brought and agreed on so far. The
  // last exchange is not recalled: neither `unchanged` nor an answer that `recall` could do
  // without. The same on all ranks.
  struct Range {
    std::int64_t begin, end;
  };
  std::vector<Range> renewed{};
  // f32, of any size: tensors that travel beside the exchange as they are. Each becomes its mean
  // over the ranks. Not the reducer's business: whoever gives it the exchange sees to them.
  std::vector<Tensor> beside{};
  // The momentum is what came of this bucket's last exchange, bit for bit, with the same
  // coordinates live: a reducer that still has that as it travelled reads those few bytes instead.
  bool unchanged = false;
  // Instead of `momentum`, if no rank keeps one whole: it is what came of this bucket's last
  // exchange, which the reducer still has as it travelled. What comes of this one replaces the
  // value. If there is none (residuals are reset, or the run was restored) this fills it in,
  // f32 [n]: called on all ranks, collective.
  using Recall = std::function<void(Context& cx, const Tensor& momentum)>;
  Recall recall{};
  // Called with ranges of elements as soon as their result is known: each element once, by several
  // threads at once, before the reducer has finished. result[0] is that of element `begin`; it is
  // to be read there, from the cache, since the tensor may get it afterwards only. CPU only.
  using Use = std::function<void(std::int64_t begin, std::int64_t end, const float* result)>;
  Use use{};
};

}  // namespace gradwire
