// What a run trains on: a model, or the stages of it that a rank has, how micro-batches become
// losses, and how what was learnt is measured. A task owns its place in the data as state; it knows
// nothing of optimizers, nor of ranks beyond its replica's share of the data and its stages.
#pragma once

#include <cstdint>
#include <vector>

#include "core/state.h"
#include "models/module.h"
#include "parallel/pipeline/pipeline.h"
#include "train/measure.h"

namespace gradwire {

class Task : public Stateful {
 public:
  // All parameters that computing reads on this rank: those of its stages, of every model of the
  // task, in order of declaration and the same on all replicas.
  virtual ParameterSet parameters() = 0;
  // Of those, what training changes: gradients, optimizer state, buckets and residuals are made for
  // these alone. Unless a task says otherwise, those that are trainable; none other may be.
  virtual ParameterSet trained();
  // Sets of trained parameters of which a step may touch none, such as the adapters of one
  // language: a set that no replica has a gradient for in a step is not exchanged, updated or
  // decayed in it. A parameter is in one set at most; those in none are always exchanged.
  virtual std::vector<ParameterSet> conditional() { return {}; }
  // Of all, what a checkpoint holds: at least what is trained. The rest (a pretrained base) has
  // to be there already when the run goes on, and is recognised by its digest. Unless a task says
  // otherwise, all.
  virtual ParameterSet saved();
  // The micro-batches of the next step, drawn as they are asked for. cx.rng.seed is the step's: all
  // stages of a replica give the same.
  virtual StageModel& next_step() = 0;
  // What this replica has worked on in the step that next_step() began, for the speed of training;
  // the same counts, in the same order, on every rank. Asked of the ranks that have the last stage.
  virtual Counters counters() const = 0;

  // What evaluate() can give.
  virtual std::vector<Metric> metrics() const { return {}; }
  // Measures the model as it is now on validation data: losses of a pass through the pipeline
  // (train/evaluation.h has that), or what comes of decoding. At most `max_batches` batches of each
  // replica (0: all). Gives sums over all ranks of `world`, the same on all of them; nothing if
  // there is no validation data: there is no metric then, not even 0. Collective.
  virtual std::vector<Sum> evaluate(Context& /*cx*/, Pipeline& /*pipeline*/,
                                    Communicator& /*world*/, std::int64_t /*max_batches*/) {
    return {};
  }

  virtual double epoch() const { return 0.0; }  // passes over the training data so far
  // Seconds spent reading data since the last call of this.
  virtual double take_data_seconds() { return 0.0; }
};

// What is neither trained nor exchanged.
ParameterSet frozen_in(Task& task);
// What is not in a checkpoint.
ParameterSet known_by_digest_in(Task& task);

}  // namespace gradwire
