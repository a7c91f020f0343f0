// Whether a run compresses. Measures the network and the codec before the first step and computing
// in the first steps, which stay dense meanwhile; decides once, the same on all ranks; says what it
// expected beside what came of it. The decision is state, times are not: a run that goes on on as
// many ranks keeps it and only predicts, on another number it decides anew. What holding a step
// dense means is the update's business.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/cost/cost_model.h"
#include "core/state.h"

namespace gradwire {

struct ExchangeProbe {
  ExchangeForecast forecast;
  std::string what;  // was measured, for the log
};

struct TimedStep {
  std::int64_t step = 0;
  double seconds = 0.0;
  double wait_s = 0.0;  // of them, for exchanging and compressing
  bool dense = true;
};

class CompressionSwitch : public Stateful {
 public:
  // Steps before the prediction; the first of a process is not counted, since it allocates.
  static constexpr std::int64_t kMeasuredSteps = 4;

  // `probe` is collective and gives the same on all ranks. One rank exchanges nothing, measures
  // nothing and compresses as it is told to, unless another number of ranks decided against it.
  CompressionSwitch(Communicator& comm, double least_gain,
                    std::function<ExchangeProbe(Context&)> probe);

  // Before the first step of this process, which comes after `step`. Lines for the log. Collective.
  std::vector<std::string> start(Context& cx, std::int64_t step);
  // Of the next step.
  bool holds_dense() const;
  // After a step that was not skipped. Lines for the log. Collective.
  std::vector<std::string> observe(Context& cx, const TimedStep& s);
  // Predicted beside measured, at the end.
  std::vector<std::string> summary() const;

  void visit_state(StateVisitor& v) override;

 private:
  // Steps of this process of one kind, without the first.
  struct Phase {
    std::int64_t steps = 0;
    double seconds = 0.0;
    void add(double s) {
      ++steps;
      seconds += s;
    }
    double mean() const { return seconds / static_cast<double>(steps); }
  };
  std::string predict(Context& cx);
  std::string compared(const char* what, const Phase& phase, double predicted_s) const;

  Communicator& comm_;
  double least_gain_;
  std::function<ExchangeProbe(Context&)> probe_;

  std::int64_t ranks_;  // that the decision is for
  std::int64_t decided_ = 0;
  std::int64_t compress_ = 1;

  ExchangeForecast forecast_;
  bool decides_ = false;  // in this process
  std::int64_t predict_at_ = kMeasuredSteps;
  bool predicted_ = false;
  StepCost cost_;      // as predicted
  bool first_ = true;  // the next step is
  bool switched_ = false;
  double first_computing_s_ = 0.0;
  Phase computing_, dense_, compressed_;
};

}  // namespace gradwire
