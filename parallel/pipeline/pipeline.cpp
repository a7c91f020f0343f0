#include "parallel/pipeline/pipeline.h"

#include <utility>

namespace gradwire {

Pipeline::Pipeline(Communicator& stages, const Schedule& schedule,
                   std::unique_ptr<ActivationTransport> transport)
    : stages_(stages),
      schedule_(schedule),
      transport_(std::move(transport)),
      plain_(make_plain_transport(stages)),
      executor_(stages, schedule, *transport_) {}

Pipeline::Pipeline(Communicator& stages, const Schedule& schedule)
    : Pipeline(stages, schedule, make_plain_transport(stages)) {}

std::vector<double> Pipeline::train(Context& cx, StageModel& model, StepWeight& whole,
                                    const ExecutorHooks& hooks) {
  std::vector<double> losses = executor_.train(cx, model, whole, hooks);
  waited_s_ += executor_.waited_s();
  return losses;
}

std::vector<double> Pipeline::evaluate(Context& cx, StageModel& model, int micros) {
  const Schedule forward = with_messages(forward_only(stages_.size(), schedule_.chunks, micros));
  return Executor(stages_, forward, *plain_).evaluate(cx, model);
}

std::vector<int> Pipeline::stages_here() const {
  std::vector<int> here;
  for (int s = 0; s < schedule_.stages(); ++s)
    if (schedule_.rank_of(s) == stages_.rank()) here.push_back(s);
  return here;
}

double Pipeline::take_wait_seconds() {
  return std::exchange(waited_s_, 0.0);
}

}  // namespace gradwire
