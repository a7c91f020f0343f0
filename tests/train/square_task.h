// The least that a trainer can train: what its own tests are made with.
#pragma once

#include "core/ops/elementwise/elementwise.h"
#include "core/ops/reduce/reduce.h"
#include "models/module.h"
#include "train/task.h"

namespace gradwire::test {

// The mean of w^2, in one stage: few computations, many gradients.
class SquareTask : public Task, public StageModel {
 public:
  explicit SquareTask(Context& cx) {
    init_normal(cx, model_.w, "w", {100'000}, 1.0);
    init_normal(cx, model_.frozen, "frozen", {100}, 1.0);
    model_.frozen.trainable = false;
  }
  ParameterSet parameters() override { return parameters_of(model_); }
  StageModel& next_step() override { return *this; }
  std::vector<Var> forward(Context& cx, Tape& tape, int, int, std::span<const Var>) override {
    const Var w = tape.param(model_.w);
    return {mean(cx, tape, mul(cx, tape, w, w))};
  }
  std::vector<TensorSpec> activations(int, int) const override { return {}; }
  double weight(int) const override { return 1.0; }
  Counters counters() const override { return {}; }
  std::vector<Metric> metrics() const override { return {}; }
  std::vector<Sum> evaluate(Context&, Pipeline&, Communicator&, std::int64_t) override {
    return {};
  }
  double epoch() const override { return 0.0; }
  double take_data_seconds() override { return 0.0; }
  void visit_state(StateVisitor&) override {}

 private:
  struct Vector final : Module {
    void visit_params(const Visitor& f) override {
      f(w);
      f(frozen);
    }
    Parameter w, frozen;
  };
  Vector model_;
};

}  // namespace gradwire::test
