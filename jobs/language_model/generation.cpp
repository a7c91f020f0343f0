#include "jobs/language_model/generation.h"

#include <array>
#include <memory>
#include <utility>

namespace gradwire {
namespace {

class PipelinedModel {
 public:
  PipelinedModel(Context& cx, Communicator& stages, const Schedule& schedule, DecoderLm& model,
                 std::vector<UnitRange> cut, std::int64_t capacity, Adaptation adapted)
      : comm_(stages),
        schedule_(schedule),
        model_(model),
        cut_(std::move(cut)),
        caches_(model.make_caches(cx, capacity)),
        adapted_(std::move(adapted)) {}

  std::vector<float> next(Context& cx, const Tensor& ids) {
    const DecoderConfig& config = model_.config();
    Tensor x;  // of the stage before, if that is here
    for (int s = 0; s < schedule_.stages(); ++s) {
      if (!is_here(s)) continue;
      if (s > 0 && !is_here(s - 1)) {
        x = Tensor::empty(cx, {1, ids.dim(1), config.width}, config.compute);
        message(cx, P2p::Dir::kRecv, s - 1, x);
      }
      Tape tape(/*recording=*/false);
      const Var in = s > 0 ? tape.constant(x) : Var{};
      const UnitRange units = cut_[static_cast<std::size_t>(s)];
      x = tape.value(model_.forward(cx, tape, units, ids, in, &caches_, adapted_));
      if (s + 1 < schedule_.stages() && !is_here(s + 1)) message(cx, P2p::Dir::kSend, s + 1, x);
    }
    const int last = schedule_.stages() - 1;
    Tensor logits = is_here(last) ? x : Tensor::empty(cx, {1, 1, config.vocab}, config.compute);
    if (comm_.size() > 1) {
      comm_.broadcast(logits, schedule_.rank_of(last), {cx.stream, Traffic::kActivation})
          ->wait(cx.stream);
    }
    return logits.to_host<float>(cx);
  }

 private:
  bool is_here(int stage) const { return schedule_.rank_of(stage) == comm_.rank(); }
  void message(Context& cx, P2p::Dir dir, int stage, const Tensor& t) {
    const std::array group{P2p{dir, schedule_.rank_of(stage), t}};
    comm_.batch_send_recv(group, {cx.stream, Traffic::kActivation})->wait(cx.stream);
  }

  Communicator& comm_;
  const Schedule& schedule_;
  DecoderLm& model_;
  std::vector<UnitRange> cut_;
  std::vector<KvCache> caches_;
  Adaptation adapted_;
};

}  // namespace

NextLogits pipelined_logits(Context& cx, Communicator& stages, const Schedule& schedule,
                            DecoderLm& model, std::vector<UnitRange> cut, std::int64_t capacity,
                            Adaptation adapted) {
  const auto pipelined = std::make_shared<PipelinedModel>(
      cx, stages, schedule, model, std::move(cut), capacity, std::move(adapted));
  return [pipelined](Context& c, const Tensor& ids) { return pipelined->next(c, ids); };
}

}  // namespace gradwire
