#include "train/trainer.h"

#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "comm/common_error.h"
#include "core/error.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Trainer::Trainer(TrainOptions options, TrainParts parts)
    : options_(options),
      parts_(std::move(parts)),
      update_(options.update, parts_.optimizer, parts_.ranks),
      trained_(parts_.task.trained()) {
  for (const Parameter* p : frozen_in(parts_.task)) {
    if (!p->trainable) continue;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("parameter '{}' is trainable, but its task does not train it", p->name));
  }
}

Outcome Trainer::run(Context& cx) {
  parts_.report.started(step_);
  if (step_ == 0) parts_.ranks.broadcast(cx);
  check_replicas(cx);
  if (parts_.compression) report_notes(parts_.compression->start(cx, step_));
  const Outcome outcome = train(cx);
  if (parts_.compression) report_notes(parts_.compression->summary());
  return outcome;
}

Outcome Trainer::train(Context& cx) {
  sent_before_ = parts_.world.ledger().total();
  // A last step that was skipped may leave replicas apart that agree only now and then.
  while (step_ < options_.steps || !parts_.optimizer.settled()) {
    const Clock::time_point start = Clock::now();
    const StepResult result = train_step(cx);
    for (StepObserver* o : parts_.observers)
      o->step_ends(parts_.pipeline.timeline());
    const StepMetrics m = report_step(cx, result, seconds_since(start));
    if (result.skipped) count_skipped(result);
    if (parts_.compression && !result.skipped) {
      report_notes(
          parts_.compression->observe(cx, {step_, m.step_s, exchange_wait_s_, update_.is_dense()}));
    }
    stopping_ = stopping_ || result.stop;
    if (!parts_.optimizer.settled()) continue;
    if (replica_check_due()) check_replicas(cx);
    const bool last = step_ >= options_.steps;
    if (last || evaluation_due(step_)) report_evaluation(cx);
    const bool ends = last || stopping_;
    const bool best = parts_.checkpoints.is_best(evaluation_so_far());
    if (ends || best || parts_.checkpoints.due(step_)) save(cx, ends);
    if (stopping_ && !last) return Outcome::kStopped;
  }
  return Outcome::kFinished;
}

bool Trainer::evaluation_due(std::int64_t step) const {
  return options_.eval_every > 0 && step % options_.eval_every == 0;
}

// Replicas that part on purpose between agreements are compared at the next agreement, which comes
// no earlier for it: whether anybody looks must not change what is trained.
bool Trainer::replica_check_due() const {
  const std::int64_t every = options_.replica_check_every;
  return every > 0 && step_ / every != checked_at_ / every;
}

void Trainer::check_replicas(Context& cx) {
  parts_.ranks.check_replicas(cx, step_);
  checked_at_ = step_;
}

bool Trainer::settles(std::int64_t step) const {
  return stopping_ || step >= options_.steps || evaluation_due(step) ||
         parts_.checkpoints.due(step);
}

Trainer::StepResult Trainer::train_step(Context& cx) {
  ++step_;
  for (StepObserver* o : parts_.observers)
    o->step_begins(step_);
  const auto replica = static_cast<std::uint64_t>(parts_.ranks.comm().rank());
  cx.rng =
      Rng{derive_seed(derive_seed(options_.seed, replica), static_cast<std::uint64_t>(step_)), 0};
  update_.hold_dense(parts_.compression && parts_.compression->holds_dense());
  update_.begin(step_, settles(step_));
  const LossSum losses = accumulate_gradients(cx);
  enter(StepPart::kGradients);
  update_.finish_gradients(cx);
  StepAgreement agreement(cx, parts_.world, step_word(losses));  // beside the sums for the norm
  const double norm = update_.norm(cx);
  enter(StepPart::kAgreement);
  const StepResult result = agree(cx, agreement, norm);
  if (result.skipped) return result;

  enter(StepPart::kUpdate);
  nonfinite_in_row_ = 0;
  update_.apply(cx, result.lr);
  for (const std::string& message :
       {parts_.optimizer.take_log_message(), parts_.ranks.take_log_message()}) {
    if (!message.empty()) parts_.report.note(fmt::format("step {}: {}", step_, message));
  }
  return result;
}

void Trainer::enter(StepPart part) {
  for (StepObserver* o : parts_.observers)
    o->part_begins(part);
}

LossSum Trainer::accumulate_gradients(Context& cx) {
  for (Parameter* p : trained_)
    clear_grad(*p);
  StageModel& model = parts_.task.next_step();
  const int micros = parts_.pipeline.schedule().micros;
  const int passes = computed_micros(model, micros);
  StepWeight whole(cx, parts_.ranks.comm(), model, micros);
  ExecutorHooks hooks;
  hooks.recorded = [&](Tape& tape) { update_.overlap(cx, tape, passes); };
  hooks.tie = [&](int) { update_.submit_tied(cx); };
  hooks.begins = [&](const Action& action) {
    for (StepObserver* o : parts_.observers)
      o->action_begins(action);
  };
  LossSum sum;
  sum.add(model, parts_.pipeline.train(cx, model, whole, hooks));
  return sum;
}

StepWord Trainer::step_word(const LossSum& losses) const {
  StepWord mine;
  mine.stop = parts_.stop_requested && parts_.stop_requested();
  mine.loss_sum = losses.loss;
  mine.loss_count = losses.weight;
  for (const Count& c : parts_.task.counters())
    mine.counts.push_back(parts_.pipeline.has_last_stage() ? c.amount : 0.0);
  mine.nonfinite = !std::isfinite(mine.loss_sum);
  return mine;
}

// Mean loss, and what any rank saw or was asked for, known to all: the control word of the step.
// The norm is known to all as well.
Trainer::StepResult Trainer::agree(Context& cx, StepAgreement& agreement, double grad_norm) {
  const Clock::time_point start = Clock::now();
  const StepWord all = agreement.wait(cx);
  agree_wait_s_ = seconds_since(start);
  StepResult result;
  result.loss = all.loss_sum / all.loss_count;
  result.grad_norm = grad_norm;
  result.lr = lr_at(parts_.schedule, step_);
  result.counts = all.counts;
  result.empty = all.loss_count == 0.0;
  result.skipped = all.nonfinite || !std::isfinite(grad_norm) || result.empty;
  result.stop = all.stop;
  return result;
}

void Trainer::count_skipped(const StepResult& r) {
  if (r.empty) {
    if (!std::exchange(said_empty_, true)) {
      parts_.report.note(fmt::format(
          "step {} skipped on all ranks: no micro-batch of it has any weight; not said again",
          step_));
    }
    return;
  }
  ++nonfinite_total_;
  ++nonfinite_in_row_;
  parts_.report.warning(fmt::format("step {} skipped on all ranks: loss {}, gradient norm {}",
                                    step_, r.loss, r.grad_norm));
  if (nonfinite_in_row_ < options_.max_nonfinite) return;
  wait_before_common_error(parts_.world);
  throw Error(ErrorKind::kNumeric,
              fmt::format("loss or gradients were not finite for {} steps in a row, the last {}",
                          nonfinite_in_row_, step_));
}

const std::vector<Sum>& Trainer::evaluation(Context& cx) {
  if (evaluated_at_ != step_) {
    evaluation_ = parts_.task.evaluate(cx, parts_.pipeline, parts_.world, options_.eval_batches);
    evaluated_at_ = step_;
  }
  return evaluation_;
}

std::span<const Sum> Trainer::evaluation_so_far() const {
  if (evaluated_at_ != step_) return {};
  return evaluation_;
}

void Trainer::report_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes)
    parts_.report.note(note);
}

StepMetrics Trainer::report_step(Context& cx, const StepResult& r, double seconds) {
  const WireCount sent = parts_.world.ledger().total();
  StepMetrics m;
  m.step = step_;
  m.total_steps = options_.steps;
  m.epoch = parts_.task.epoch();
  m.loss = r.loss;
  m.grad_norm = r.grad_norm;
  m.lr = r.lr;
  const Counters counters = parts_.task.counters();
  for (std::size_t i = 0; i < counters.size(); ++i)
    m.speed.push_back({counters[i].name, counters[i].unit, r.counts[i] / seconds});
  m.step_s = seconds;
  m.data_wait_s = parts_.task.take_data_seconds();
  exchange_wait_s_ = parts_.ranks.take_wait_seconds() + agree_wait_s_;
  m.comm_wait_s = exchange_wait_s_ + parts_.pipeline.take_wait_seconds();
  m.wire_bytes = sent.sent_bytes - sent_before_.sent_bytes;
  m.wire_dense_bytes = sent.dense_bytes - sent_before_.dense_bytes;
  m.memory_peak_bytes = static_cast<std::int64_t>(cx.alloc->stats().peak_bytes);
  m.nonfinite_steps = nonfinite_total_;
  parts_.report.step(m);
  sent_before_ = sent;
  return m;
}

void Trainer::report_evaluation(Context& cx) {
  const Clock::time_point start = Clock::now();
  const std::vector<Sum>& sums = evaluation(cx);
  if (sums.empty()) return;
  EvaluationMetrics m;
  m.step = step_;
  m.values = shown(parts_.task.metrics(), sums);
  m.seconds = seconds_since(start);
  parts_.report.evaluation(m);
  sent_before_ = parts_.world.ledger().total();
}

void Trainer::save(Context& cx, bool must) {
  const Clock::time_point start = Clock::now();
  const SaveResult saved = parts_.checkpoints.save(cx, step_, evaluation_so_far());
  CheckpointMetrics m;
  m.step = step_;
  m.committed = saved.committed;
  m.path = saved.path;
  m.why = saved.why;
  m.bytes = saved.bytes;
  m.seconds = seconds_since(start);
  parts_.report.checkpoint(m);
  for (const std::string& w : saved.warnings)
    parts_.report.warning(w);
  sent_before_ = parts_.world.ledger().total();
  const auto& best = parts_.checkpoints.best();
  if (saved.committed && best && best->step == step_) {
    parts_.report.note(fmt::format("step {}: the best {} so far, {:.6g}: this checkpoint is kept",
                                   step_, best->score.metric, best->score.value));
  }
  if (saved.committed) return;
  const std::string text = fmt::format("checkpoint of step {} was not saved: {}", step_, saved.why);
  parts_.report.warning(text);
  if (must) throw Error(ErrorKind::kIo, text);
}

void Trainer::visit_state(StateVisitor& v) {
  v.number("train.step", step_);
  v.number("train.nonfinite_total", nonfinite_total_);
  v.number("train.nonfinite_in_row", nonfinite_in_row_);
}

}  // namespace gradwire
