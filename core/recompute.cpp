#include "core/recompute.h"

#include <memory>
#include <utility>
#include <vector>

namespace gradwire {
namespace {

struct Kept {
  Var x;
  Tensor input;
  Rng rng;
  std::vector<Var> params;
  RecomputedPart part;
};

void backward(Context& cx, Tape& tape, const Kept& kept, const Tensor& dy) {
  Context again = cx;
  again.rng = kept.rng;
  const auto inner = std::make_shared<Tape>();
  const Var x = tape.needs_grad(kept.x) ? inner->input(kept.input) : inner->constant(kept.input);
  const Var y = kept.part(again, *inner, x);
  if (tape.splits()) {
    inner->backward_inputs(again, y, dy);
    tape.adopt_weights(inner, kept.params);
  } else {
    inner->backward(again, y, dy);
  }
  if (tape.needs_grad(kept.x) && inner->grad(x)) tape.accumulate(cx, kept.x, inner->grad(x));
}

}  // namespace

Var recompute(Context& cx, Tape& tape, Var x, std::span<Parameter* const> params,
              RecomputedPart part) {
  if (!tape.recording()) return part(cx, tape, x);
  Kept kept{x, tape.value(x), cx.rng, {}, part};
  std::vector<Var> in{x};
  for (Parameter* p : params)
    in.push_back(tape.param(*p));
  kept.params.assign(in.begin() + 1, in.end());
  Tape forward;  // recording, since dropout is for training only; its record goes at once
  const Var y = part(cx, forward, forward.constant(kept.input));
  return tape.record(forward.value(y), in,
                     [kept = std::move(kept)](Context& c, Tape& t, const Tensor& dy) {
                       backward(c, t, kept, dy);
                     });
}

}  // namespace gradwire
