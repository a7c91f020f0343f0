// What the ranks are to agree on for one bucket in one step. An optimizer says it, as one of four
// kinds; a reducer (comm/reducer/reducer.h) carries it out, and says which kinds it can.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "core/tensor.h"

namespace gradwire {

constexpr float kLeastGradient = 1e-18F;

// All tensors of an exchange are f32 [n], n being the elements of the bucket. Weights, betas and
// momenta are the same on all ranks; gradients and drifts are each rank's own.

// The value becomes the mean over the ranks of weight * value.
struct Gradient {
  Tensor value;
  float weight = 1.0F;  // clipping, loss scale
};

// The momentum becomes the mean over the ranks of beta * momentum + (1 - beta) * weight * gradient.
// The gradient holds nothing of use afterwards.
struct Momentum {
  Tensor gradient;
  float weight = 1.0F;
  Tensor momentum{};
  float beta = 0.0F;
  // The momentum is what came of this bucket's last exchange, bit for bit, with the same
  // coordinates live: a reducer that still has it as it travelled may read those few bytes instead.
  bool as_agreed = false;
};

// The same, if no rank keeps the momentum whole: it is what came of this bucket's last exchange,
// which the reducer still has as it travelled. The new momentum replaces the gradient.
struct RecalledMomentum {
  Tensor gradient;
  float weight = 1.0F;
  float beta = 0.0F;
  // Fills in the momentum if the reducer has none (residuals are reset, or the run was restored):
  // called on all ranks, collective.
  std::function<void(Context& cx, const Tensor& momentum)> fill{};
};

// How far this rank's parameters have moved since the last agreement, after any number of local
// steps by any rule: parameters now minus parameters then, or a multiple that is the same on all
// ranks. The value becomes the mean over the ranks. Unlike a gradient, it is not summed over the
// two ends of a parameter that is shared by two pipeline stages.
struct Drift {
  Tensor value;
};

struct Exchange {
  std::variant<Gradient, Momentum, RecalledMomentum, Drift> what{};
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
  // last exchange is not recalled: neither `as_agreed` nor what could be done without `fill`. The
  // same on all ranks.
  struct Range {
    std::int64_t begin, end;
  };
  std::vector<Range> renewed{};
  // f32, of any size: tensors that travel beside the exchange as they are. Each becomes its mean
  // over the ranks. Not the reducer's business: whoever gives it the exchange sees to them.
  std::vector<Tensor> beside{};
  // Called with ranges of elements as soon as their result is known: each element once, by several
  // threads at once, before the reducer has finished. result[0] is that of element `begin`; it is
  // to be read there, from the cache, since the tensor may get it afterwards only. CPU only.
  using Use = std::function<void(std::int64_t begin, std::int64_t end, const float* result)>;
  Use use{};
};

// In the order of Exchange::what.
enum class ExchangeKind : std::uint8_t { kGradient, kMomentum, kRecalledMomentum, kDrift };

inline ExchangeKind kind_of(const Exchange& e) {
  return static_cast<ExchangeKind>(e.what.index());
}

constexpr std::string_view name_of(ExchangeKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"a gradient", "a momentum",
                                                      "a recalled momentum", "a drift"};
  return kNames[static_cast<std::size_t>(kind)];
}

class ExchangeKinds {
 public:
  constexpr ExchangeKinds(std::initializer_list<ExchangeKind> kinds) {
    for (const ExchangeKind kind : kinds)
      bits_ |= 1U << static_cast<unsigned>(kind);
  }
  constexpr bool contains(ExchangeKind kind) const {
    return (bits_ >> static_cast<unsigned>(kind) & 1U) != 0;
  }

 private:
  unsigned bits_ = 0;
};

// What a rank brings, whichever kind it is: weight * value without a momentum, else
// beta * momentum + (1 - beta) * weight * value. A momentum to be recalled is not in it.
struct Contribution {
  Tensor value;
  float weight = 1.0F;
  Tensor momentum{};
  float beta = 0.0F;
  // What the mean over the ranks replaces.
  const Tensor& result() const { return momentum ? momentum : value; }
};

inline Contribution contribution_of(const Exchange& e) {
  struct Visitor {
    Contribution operator()(const Gradient& g) const { return {g.value, g.weight}; }
    Contribution operator()(const Momentum& m) const {
      return {m.gradient, m.weight, m.momentum, m.beta};
    }
    Contribution operator()(const RecalledMomentum& m) const {
      return {m.gradient, m.weight, {}, m.beta};
    }
    Contribution operator()(const Drift& d) const { return {d.value}; }
  };
  return std::visit(Visitor{}, e.what);
}

}  // namespace gradwire
