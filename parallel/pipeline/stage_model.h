// What a rank of a pipeline can compute: its stages of the micro-batches of one step, which the
// model draws for itself. Micro-batches may differ in size, be empty, and hand several tensors on.
// All that is asked here without a tensor (activations(), weight(), total_weight()) must be known
// on every rank of a replica and be the same there, since both ends of a message decide by it alone
// whether there is a message.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/tape.h"

namespace gradwire {

// A tensor that one stage hands to the next.
struct TensorSpec {
  Shape shape;
  DType dtype = DType::kF32;
  // Whether the stage that made it is given its gradient. Tensors of integers never have one.
  bool gradient = true;

  bool has_gradient() const { return gradient && is_float(dtype); }
};

class StageModel {
 public:
  virtual ~StageModel() = default;
  // What stage `stage` makes of `in`, the tensors that the stage before hands on (none in the
  // first): tensors as activations() says. The last stage gives one scalar f32, the mean loss of
  // the micro-batch, if every unit of weight counts the same.
  virtual std::vector<Var> forward(Context& cx, Tape& tape, int stage, int micro,
                                   std::span<const Var> in) = 0;
  // What stage `stage` hands to the next one for this micro-batch; may be empty. Not asked of the
  // last stage.
  virtual std::vector<TensorSpec> activations(int stage, int micro) const = 0;
  // How much the micro-batch counts in the mean over the step: its tokens, labels or samples. 0 for
  // one that is empty or left out: it is not computed, and nothing is sent for it.
  virtual double weight(int micro) const = 0;
  // The weight of all micro-batches of all replicas in this step, of which there are `micros`, if
  // this rank knows it without asking the other replicas.
  virtual std::optional<double> total_weight([[maybe_unused]] int micros) const { return {}; }
};

// Of the first `micros` micro-batches, those that are computed. Errors: kUsage for a weight that is
// negative or not finite.
int computed_micros(const StageModel& model, int micros);

// Losses of micro-batches, each times its weight, and those weights.
struct LossSum {
  double loss = 0.0;
  double weight = 0.0;

  // By micro-batch, those that `model` computed last.
  void add(const StageModel& model, std::span<const double> losses);
};

}  // namespace gradwire
