#include "launch/measure/pipeline_report.h"

#include <algorithm>

#include "parallel/agreement.h"
#include "parallel/pipeline/activation_memory.h"

namespace gradwire {
namespace {

double extreme(Context& cx, Communicator& comm, double mine, ReduceOp op) {
  Context host = cx.on_host();
  Tensor t = Tensor::from(host, {1}, std::vector<double>{mine});
  comm.all_reduce(t, op, host.stream)->wait(host.stream);
  return t.to_host<double>(host)[0];
}

std::vector<std::int64_t> gather(Context& cx, Communicator& comm, std::int64_t mine) {
  Context host = cx.on_host();
  Tensor own = Tensor::from(host, {1}, std::vector<std::int64_t>{mine});
  Tensor all = Tensor::zeros(host, {comm.size()}, DType::kI64);
  comm.all_gather(own, all, host.stream)->wait(host.stream);
  return all.to_host<std::int64_t>(host);
}

}  // namespace

void PipelineMeter::add_step(Context& cx) {
  double busy = 0.0;
  const auto& events = pipeline_.timeline();
  for (const TimelineEvent& e : events) {
    if (!is_compute(e.action.act)) continue;
    const double seconds = e.end_s - e.begin_s;
    busy += seconds;
    std::map<int, Sum>& kind = e.action.act == Act::kForward         ? forward_
                               : e.action.act == Act::kBackward      ? backward_
                               : e.action.act == Act::kBackwardInput ? input_
                                                                     : weight_;
    Sum& sum = kind[e.action.stage];
    sum.seconds += seconds;
    sum.count += 1.0;
  }
  Communicator& comm = pipeline_.stages();
  const double begin = extreme(cx, comm, events.front().begin_s, ReduceOp::kMin);
  const double end = extreme(cx, comm, events.back().end_s, ReduceOp::kMax);
  bubbles_.push_back(1.0 - sum_over_ranks(cx, comm, busy) / (comm.size() * (end - begin)));
}

// By stage. A full backward counts as one half: their sum is all that matters.
Costs PipelineMeter::mean_costs(Context& cx) const {
  const int stages = pipeline_.schedule().stages();
  const auto by_stage = [&](const std::map<int, Sum>& whole, const std::map<int, Sum>& split) {
    std::vector<double> means;
    for (int s = 0; s < stages; ++s) {
      double mine = 0.0;
      for (const auto* sums : {&whole, &split}) {
        const auto found = sums->find(s);
        if (found != sums->end()) mine += found->second.seconds / found->second.count;
      }
      means.push_back(sum_over_ranks(cx, pipeline_.stages(), mine));
    }
    return means;
  };
  return {by_stage(forward_, {}), by_stage(backward_, input_), by_stage({}, weight_)};
}

PipelineReport PipelineMeter::report(Context& cx, const Stages& stages) const {
  PipelineReport report;
  std::vector<double> sorted = bubbles_;
  std::ranges::sort(sorted);
  if (!sorted.empty()) report.bubble_share = sorted[sorted.size() / 2];
  const DryRun dry = dry_run(stages.schedule, SendModel::kEager, mean_costs(cx));
  report.predicted_bubble_share = dry.bubble_share;
  const auto peak = cx.alloc->stats().of(Segment::kActivations).peak_bytes;
  report.activation_bytes = gather(cx, pipeline_.stages(), static_cast<std::int64_t>(peak));
  if (stages.cost.empty()) return report;
  std::vector<StageMemory> memory;
  for (const UnitRange& units : stages.cut)
    memory.push_back(stage_memory(stages.cost, units));
  for (const Program& program : stages.schedule.ranks)
    report.predicted_activation_bytes.push_back(peak_activations(program, memory));
  return report;
}

}  // namespace gradwire
