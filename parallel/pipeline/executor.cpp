#include "parallel/pipeline/executor.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

// Sends under way before the oldest is waited for. The dry run proves that none at all would do.
constexpr std::size_t kSendsUnderWay = 4;

double now_s() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

bool is_gradient(const Action& a) {
  return a.act == Act::kSendGradient || a.act == Act::kReceiveGradient;
}

std::vector<TensorSpec> only_with_gradient(std::vector<TensorSpec> specs) {
  std::erase_if(specs, [](const TensorSpec& s) { return !s.has_gradient(); });
  return specs;
}

// The tensors of `out`, which must be as announced: the next stage may be on another rank, and
// expects just these.
std::vector<Tensor> checked_values(const Tape& tape, std::span<const Var> out,
                                   std::span<const TensorSpec> specs, const Action& a) {
  std::vector<Tensor> values;
  for (const Var v : out)
    values.push_back(tape.value(v));
  bool fits = values.size() == specs.size();
  for (std::size_t i = 0; fits && i < specs.size(); ++i)
    fits = values[i].shape() == specs[i].shape && values[i].dtype() == specs[i].dtype;
  if (fits) return values;
  std::vector<std::string> found, wanted;
  for (const Tensor& t : values)
    found.push_back(fmt::format("{} {}", name_of(t.dtype()), to_string(t.shape())));
  for (const TensorSpec& s : specs)
    wanted.push_back(fmt::format("{} {}", name_of(s.dtype), to_string(s.shape)));
  throw Error(ErrorKind::kShape,
              fmt::format("stage {} of micro-batch {} gave ({}), not ({}) as announced", a.stage,
                          a.micro, fmt::join(found, ", "), fmt::join(wanted, ", ")));
}

}  // namespace

Executor::Executor(Communicator& stages, const Schedule& schedule, ActivationTransport& transport)
    : comm_(stages), schedule_(schedule), transport_(transport) {
  if (static_cast<int>(schedule.ranks.size()) != stages.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("a schedule of {} ranks for a pipeline of {}",
                                               schedule.ranks.size(), stages.size()));
  }
}

std::vector<double> Executor::train(Context& cx, StageModel& model, StepWeight& whole,
                                    const ExecutorHooks& hooks) {
  return run({cx, model, &whole, hooks});
}

std::vector<double> Executor::evaluate(Context& cx, StageModel& model) {
  static const ExecutorHooks kNone;
  return run({cx, model, nullptr, kNone});
}

std::vector<double> Executor::run(Run run) {
  const Program& program = schedule_.ranks[static_cast<std::size_t>(comm_.rank())];
  if (is_here(schedule_.stages() - 1)) {
    run.losses.resize(static_cast<std::size_t>(schedule_.micros));
  }
  computed_micros(run.model, schedule_.micros);  // which checks the weights
  for (int micro = 0; micro < schedule_.micros; ++micro)
    run.computed.push_back(run.model.weight(micro) > 0.0);
  timeline_.clear();
  waited_s_ = 0.0;
  received_to_ = 0;
  for (std::size_t i = 0; i < program.size(); ++i) {
    if (is_passed_over(run, program[i])) continue;
    begin_receives(run, program, i);
    if (run.hooks.begins) run.hooks.begins(program[i]);
    began_s_ = now_s();
    carry_out(run, program[i]);
    timeline_.push_back({comm_.rank(), program[i], began_s_, now_s()});
  }
  flights_.clear();
  while (!sends_.empty())
    finish_oldest_send(run.cx);
  if (run.training()) run.whole->total(run.cx);  // which is nobody's to leave unfinished
  return std::move(run.losses);
}

bool Executor::is_passed_over(const Run& run, const Action& a) {
  const bool of_micro_batch = is_compute(a.act) || is_message(a.act);
  return of_micro_batch && !run.computed[static_cast<std::size_t>(a.micro)];
}

// Those of the computation that comes next, and of the one after it.
void Executor::begin_receives(Run& run, const Program& program, std::size_t at) {
  int computations = 0;
  for (std::size_t i = at; i < program.size() && computations < 2; ++i) {
    const Action& a = program[i];
    if (is_passed_over(run, a)) continue;
    if (is_compute(a.act)) ++computations;
    if (i < received_to_) continue;
    received_to_ = i + 1;
    if (is_message(a.act) && !is_send(a.act)) begin_receive(run, a);
  }
}

// What stage `stage` hands on; the last one gives a loss.
std::vector<TensorSpec> Executor::results(const StageModel& model, int stage, int micro) const {
  if (is_last(stage)) return {{{}, DType::kF32}};
  return model.activations(stage, micro);
}

void Executor::begin_receive(Run& run, const Action& a) {
  const bool gradient = is_gradient(a);
  std::vector<TensorSpec> specs = results(run.model, gradient ? a.stage - 1 : a.stage, a.micro);
  if (gradient) specs = only_with_gradient(std::move(specs));
  if (specs.empty()) return;
  arrival_of(a).coming =
      transport_.receive(run.cx, {a.stage, a.micro, gradient}, schedule_.rank_of(a.stage), specs);
}

// Where what is received will be used.
Executor::Arrival& Executor::arrival_of(const Action& a) {
  const bool gradient = is_gradient(a);
  Flight& f = flight(gradient ? a.stage - 1 : a.stage + 1, a.micro);
  return gradient ? f.gradient : f.input;
}

void Executor::carry_out(Run& run, const Action& a) {
  switch (a.act) {
    case Act::kForward: return forward(run, a);
    case Act::kBackward:
    case Act::kBackwardInput: return backward(run, a);
    case Act::kBackwardWeight: return backward_weights(run, a);
    case Act::kSendResult:
    case Act::kSendGradient: return send(run, a);
    case Act::kReceiveResult:
    case Act::kReceiveGradient:  // begun before; waited for where it is needed
      arrival_of(a).event = timeline_.size();
      return;
    case Act::kReduce:
      if (run.hooks.reduce) run.hooks.reduce(a.stage);
      return;
    case Act::kTie:
      if (run.hooks.tie) run.hooks.tie(a.stage);
      return;
  }
}

std::vector<Tensor> Executor::take(Context& cx, const ActivationLink& link, Arrival& a) {
  if (!a.coming) return std::move(a.here);
  const double begin = now_s();
  std::vector<Tensor> tensors = transport_.take(cx, link, a.coming);
  began_s_ = now_s();
  waited_s_ += began_s_ - begin;
  timeline_[a.event].begin_s = begin;
  timeline_[a.event].end_s = began_s_;
  a.coming = {};
  return tensors;
}

// A stage's neighbour on the same rank gets what it made at once.
void Executor::pass_on(int to_stage, const Action& a, std::vector<Tensor> tensors, bool gradient) {
  Flight& own = flight(a.stage, a.micro);
  if (!is_here(to_stage)) {
    (gradient ? own.input_gradient : own.result) = std::move(tensors);
  } else {
    Flight& next = flight(to_stage, a.micro);
    (gradient ? next.gradient : next.input).here = std::move(tensors);
  }
}

void Executor::forward(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  f.tape = std::make_unique<StageTape>(run.training());
  std::span<const Var> in;
  if (a.stage > 0) {
    in = f.tape->begin(results(run.model, a.stage - 1, a.micro),
                       take(run.cx, {a.stage - 1, a.micro, false}, f.input));
  }
  const std::vector<Var> out = run.model.forward(run.cx, f.tape->tape(), a.stage, a.micro, in);
  const std::vector<TensorSpec> specs = results(run.model, a.stage, a.micro);
  std::vector<Tensor> values = checked_values(f.tape->tape(), out, specs, a);
  if (run.training()) {
    std::vector<Var> differentiated;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (specs[i].has_gradient()) differentiated.push_back(out[i]);
    f.tape->end(run.cx, differentiated);
    if (run.hooks.recorded) run.hooks.recorded(f.tape->tape());
  } else {
    f.tape.reset();
  }
  if (is_last(a.stage)) {
    run.losses[static_cast<std::size_t>(a.micro)] = values[0].to_host<float>(run.cx)[0];
  } else {
    pass_on(a.stage + 1, a, std::move(values), false);
  }
}

std::vector<Tensor> Executor::seeds(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  if (!is_last(a.stage)) return take(run.cx, {a.stage + 1, a.micro, true}, f.gradient);
  Tensor seed = Tensor::empty(run.cx, {}, DType::kF32);
  fill(run.cx, seed, run.whole->seed(run.cx, run.model.weight(a.micro)));
  return {seed};
}

void Executor::backward(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  const bool split = a.act == Act::kBackwardInput;
  f.tape->backward(run.cx, seeds(run, a), split);
  if (a.stage > 0) pass_on(a.stage - 1, a, f.tape->input_gradients(run.cx), true);
  if (!split) f.tape.reset();
}

void Executor::backward_weights(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  f.tape->backward_weights(run.cx);
  f.tape.reset();
}

void Executor::send(Run& run, const Action& a) {
  const bool gradient = is_gradient(a);
  Flight& f = flight(a.stage, a.micro);
  const std::vector<Tensor> tensors = std::exchange(gradient ? f.input_gradient : f.result, {});
  if (tensors.empty()) return;
  const int to_stage = a.stage + (gradient ? -1 : 1);
  sends_.push_back(
      transport_.send(run.cx, {a.stage, a.micro, gradient}, schedule_.rank_of(to_stage), tensors));
  if (sends_.size() > kSendsUnderWay) finish_oldest_send(run.cx);
}

void Executor::finish_oldest_send(Context& cx) {
  const double begin = now_s();
  sends_.front()->wait(cx.stream);
  sends_.pop_front();
  waited_s_ += now_s() - begin;
}

}  // namespace gradwire
