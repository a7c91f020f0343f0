#include "train/evaluation.h"

#include <algorithm>
#include <utility>

namespace gradwire {

std::vector<Sum> sum_over_ranks(Context& cx, Communicator& world, std::vector<Sum> mine) {
  if (world.size() > 1 && !mine.empty()) {
    std::vector<double> parts;
    for (const Sum& s : mine)
      parts.insert(parts.end(), {s.numerator, s.denominator});
    Context host = cx.on_host().in(Segment::kComm);
    Tensor t = Tensor::from(host, {std::ssize(parts)}, parts);
    world.all_reduce(t, ReduceOp::kSum, host.stream)->wait(host.stream);
    const std::vector<double> all = t.to_host<double>(host);
    for (std::size_t i = 0; i < mine.size(); ++i) {
      mine[i].numerator = all[2 * i];
      mine[i].denominator = all[2 * i + 1];
    }
  }
  std::erase_if(mine, [](const Sum& s) { return s.denominator == 0.0; });
  return mine;
}

std::vector<Sum> evaluate_losses(Context& cx, Pipeline& pipeline, Communicator& world,
                                 const std::string& name, std::int64_t batches,
                                 const std::function<StageModel&(std::int64_t first)>& from) {
  constexpr std::int64_t kAtOnce = 64;  // batches that are in the pipeline together
  LossSum sum;
  for (std::int64_t first = 0; first < batches; first += kAtOnce) {
    const auto micros = static_cast<int>(std::min(kAtOnce, batches - first));
    StageModel& model = from(first);
    sum.add(model, pipeline.evaluate(cx, model, micros));
  }
  return sum_over_ranks(cx, world, {{name, sum.loss, sum.weight}});
}

}  // namespace gradwire
