// Training a small decoder on threads, in any shape of replicas and stages: what hybrid parallelism
// is tested with.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "comm/reducer/power_sgd.h"
#include "optim/adamw.h"
#include "parallel/agreement.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/pipeline.h"
#include "tests/support/decoder_stages.h"
#include "train/update.h"

namespace gradwire::test {

struct HybridSetup {
  static constexpr int kMicros = 8;  // of a step, over all replicas

  MeshShape shape;
  std::function<Schedule(int ranks, int micros)> schedule = one_f_one_b;
  bool tied = true;
  int steps = 4;
  double clip_norm = 0.0;
  std::int64_t bucket_bytes = 1;  // every parameter by itself, however the model is cut
  std::optional<CompressionConfig> compression{};
  std::optional<PowerSgdConfig> power_sgd{};  // for `compression`
  // Steps in which gradients are agreed on as they are; -1: all, since the rule compresses by
  // itself.
  std::int64_t dense_steps = 0;
  bool compresses() const { return compression || power_sgd; }
  std::function<std::unique_ptr<Optimizer>(Context&, const std::vector<Parameter*>&,
                                           std::span<const FlatBucket>)>
      optimizer = [](Context& cx, const std::vector<Parameter*>& params, auto) {
        return make_adamw(cx, params, {});
      };
};

struct HybridOutcome {
  std::vector<double> losses, norms;  // by step
  std::map<std::string, std::vector<float>> params;
  std::int64_t gradient_bytes = 0;  // sent by all ranks
};

// One rank's part of a run, step by step.
class HybridRank {
 public:
  HybridRank(Context& cx, Communicator& world, const HybridSetup& setup)
      : setup_(setup),
        mesh_(make_mesh(world, setup.shape)),
        world_(world),
        schedule_(with_messages(setup.schedule(setup.shape.pipeline, micros()),
                                setup.tied && setup.shape.pipeline > 1)),
        stages_(cx, config(setup), even_cut(8, schedule_.stages()), schedule_, mesh_.here.pipeline),
        pipeline_(*mesh_.pipeline, schedule_),
        ranks_(cx, *mesh_.data, make_dense_reducer(*mesh_.data), params(), options()),
        optimizer_(setup.optimizer(cx, params(), ranks_.buckets().all())),
        update_({setup.clip_norm, setup.compresses() ? setup.dense_steps : -1}, *optimizer_,
                ranks_) {
    if (!setup.compresses()) return;
    for (std::size_t g = 0; g < ranks_.groups(); ++g) {
      Communicator& comm = ranks_.comm(g);
      const auto layout = ranks_.layout(g);
      ranks_.compress_with(setup.power_sgd
                               ? make_power_sgd_reducer(cx, comm, layout, *setup.power_sgd)
                               : make_compressed_reducer(cx, comm, layout, *setup.compression),
                           g);
    }
  }

  // Mean loss and norm of the step, from 1.
  std::pair<double, double> step(Context& cx, int number) {
    for (Parameter* p : params())
      clear_grad(*p);
    update_.begin(number, number == setup_.steps);
    stages_.begin_at(number * HybridSetup::kMicros + mesh_.here.data, setup_.shape.data);
    ExecutorHooks hooks;
    hooks.recorded = [&](Tape& tape) { update_.overlap(cx, tape, micros()); };
    hooks.tie = [&](int) { update_.submit_tied(cx); };
    StepWord word;
    StepWeight whole(cx, *mesh_.data, stages_, micros());
    LossSum sum;
    sum.add(stages_, pipeline_.train(cx, stages_, whole, hooks));
    word.loss_sum = sum.loss;
    word.loss_count = sum.weight;
    update_.finish_gradients(cx);
    const double norm = update_.norm(cx);
    const StepWord all = agree(cx, world_, word);
    update_.apply(cx, 1e-2);
    if (optimizer_->settled()) ranks_.check_replicas(cx, number);
    return {all.loss_sum / all.loss_count, norm};
  }

  std::vector<Parameter*> params() { return parameters_of(stages_.model()); }
  Optimizer& optimizer() { return *optimizer_; }
  DataParallel& ranks() { return ranks_; }
  const Mesh& mesh() const { return mesh_; }

 private:
  int micros() const { return HybridSetup::kMicros / setup_.shape.data; }
  static DecoderConfig config(const HybridSetup& setup) {
    DecoderConfig c = small_decoder();
    c.tie_embeddings = setup.tied;
    return c;
  }
  DataParallelOptions options() const {
    DataParallelOptions o;
    o.bucket_bytes = setup_.bucket_bytes;
    o.stages = setup_.shape.pipeline > 1 ? mesh_.pipeline.get() : nullptr;
    if (setup_.tied && mesh_.tied_embedding) {
      o.tied = TiedParameter{kEmbeddingName, mesh_.tied_embedding.get(), mesh_.here.pipeline == 0};
    }
    return o;
  }

  HybridSetup setup_;
  Mesh mesh_;
  Communicator& world_;
  Schedule schedule_;
  DecoderStages stages_;
  Pipeline pipeline_;
  DataParallel ranks_;
  std::unique_ptr<Optimizer> optimizer_;
  Update update_;
};

inline HybridOutcome train(const HybridSetup& setup) {
  HybridOutcome outcome;
  std::mutex lock;
  run_ranks(setup.shape.size(), [&](Communicator& world) {
    Runtime runtime;
    Context& cx = runtime.context();
    HybridRank rank(cx, world, setup);
    std::vector<std::pair<double, double>> steps;
    for (int s = 1; s <= setup.steps; ++s)
      steps.push_back(rank.step(cx, s));
    const std::scoped_lock guard(lock);
    outcome.losses.clear();
    outcome.norms.clear();
    for (const auto& [loss, norm] : steps) {
      outcome.losses.push_back(loss);
      outcome.norms.push_back(norm);
    }
    for (const Parameter* p : rank.params())
      outcome.params[p->name] = p->value.to_host<float>(cx);
    outcome.gradient_bytes += world.ledger().total(Traffic::kGradient).sent_bytes;
  });
  return outcome;
}

}  // namespace gradwire::test
