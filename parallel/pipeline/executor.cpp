#include "parallel/pipeline/executor.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

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

}  // namespace

Executor::Executor(Communicator& stages, const Schedule& schedule, Boundary& boundary)
    : comm_(stages), schedule_(schedule), boundary_(boundary) {
  if (static_cast<int>(schedule.ranks.size()) != stages.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("a schedule of {} ranks for a pipeline of {}",
                                               schedule.ranks.size(), stages.size()));
  }
}

std::vector<double> Executor::train(Context& cx, StageModel& model, double share,
                                    const ExecutorHooks& hooks) {
  return run({cx, model, share, hooks, true});
}

std::vector<double> Executor::evaluate(Context& cx, StageModel& model) {
  static const ExecutorHooks kNone;
  return run({cx, model, 0.0, kNone, false});
}

std::vector<double> Executor::run(Run run) {
  const Program& program = schedule_.ranks[static_cast<std::size_t>(comm_.rank())];
  if (is_here(schedule_.stages() - 1)) {
    run.losses.resize(static_cast<std::size_t>(schedule_.micros));
  }
  timeline_.clear();
  waited_s_ = 0.0;
  received_to_ = 0;
  for (std::size_t i = 0; i < program.size(); ++i) {
    begin_receives(run, program, i);
    if (run.hooks.begins) run.hooks.begins(program[i]);
    began_s_ = now_s();
    carry_out(run, program[i]);
    timeline_.push_back({comm_.rank(), program[i], began_s_, now_s()});
  }
  flights_.clear();
  while (!sends_.empty())
    finish_oldest_send(run.cx);
  return std::move(run.losses);
}

// Those of the computation that comes next, and of the one after it.
void Executor::begin_receives(Run& run, const Program& program, std::size_t at) {
  int computations = 0;
  for (std::size_t i = at; i < program.size() && computations < 2; ++i) {
    const Action& a = program[i];
    if (is_compute(a.act)) ++computations;
    if (i < received_to_) continue;
    received_to_ = i + 1;
    if (is_message(a.act) && !is_send(a.act)) begin_receive(run, a);
  }
}

void Executor::begin_receive(Run& run, const Action& a) {
  arrival_of(a).coming =
      boundary_.receive(run.cx, {a.stage, a.micro, is_gradient(a)}, schedule_.rank_of(a.stage),
                        run.model.boundary_shape(), run.model.boundary_type());
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

Tensor Executor::take(Context& cx, const BoundaryLink& link, Arrival& a) {
  if (!a.coming) return std::move(a.here);
  const double begin = now_s();
  Tensor t = boundary_.take(cx, link, a.coming);
  began_s_ = now_s();
  waited_s_ += began_s_ - begin;
  timeline_[a.event].begin_s = begin;
  timeline_[a.event].end_s = began_s_;
  a.coming = {};
  return t;
}

// A stage's neighbour on the same rank gets what it made at once.
void Executor::pass_on(int to_stage, const Action& a, Tensor t, bool gradient) {
  Flight& own = flight(a.stage, a.micro);
  if (!is_here(to_stage)) {
    (gradient ? own.input_gradient : own.result) = std::move(t);
  } else {
    Flight& next = flight(to_stage, a.micro);
    (gradient ? next.gradient : next.input).here = std::move(t);
  }
}

void Executor::forward(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  f.tape = std::make_unique<Tape>(run.training);
  if (a.stage > 0) f.in = f.tape->input(take(run.cx, {a.stage - 1, a.micro, false}, f.input));
  f.out = run.model.forward(run.cx, *f.tape, a.stage, a.micro, f.in);
  const Tensor result = f.tape->value(f.out);
  if (run.training) {
    f.tape->keep_only(f.out);
    if (run.hooks.recorded) run.hooks.recorded(*f.tape);
  } else {
    f.tape.reset();
  }
  if (is_last(a.stage)) {
    run.losses[static_cast<std::size_t>(a.micro)] = result.to_host<float>(run.cx)[0];
  } else {
    pass_on(a.stage + 1, a, result, false);
  }
}

void Executor::backward(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  Tensor seed;
  if (is_last(a.stage)) {
    seed = Tensor::empty(run.cx, {}, DType::kF32);
    fill(run.cx, seed, run.share);
  } else {
    seed = take(run.cx, {a.stage + 1, a.micro, true}, f.gradient);
  }
  const bool split = a.act == Act::kBackwardInput;
  if (split) {
    f.tape->backward_inputs(run.cx, f.out, seed);
  } else {
    f.tape->backward(run.cx, f.out, seed);
  }
  if (a.stage > 0) pass_on(a.stage - 1, a, input_gradient(run, f), true);
  if (!split) f.tape.reset();
}

void Executor::backward_weights(Run& run, const Action& a) {
  Flight& f = flight(a.stage, a.micro);
  f.tape->backward_weights(run.cx);
  f.tape.reset();
}

// Zeros where nothing depends on the input: the stage before waits for something.
Tensor Executor::input_gradient(Run& run, const Flight& f) {
  Tensor t = f.tape->grad(f.in);
  if (t) return t;
  return Tensor::zeros(run.cx, run.model.boundary_shape(), run.model.boundary_type());
}

void Executor::send(Run& run, const Action& a) {
  const bool gradient = is_gradient(a);
  Flight& f = flight(a.stage, a.micro);
  Tensor& t = gradient ? f.input_gradient : f.result;
  const int to_stage = a.stage + (gradient ? -1 : 1);
  sends_.push_back(boundary_.send(run.cx, {a.stage, a.micro, gradient}, schedule_.rank_of(to_stage),
                                  std::exchange(t, Tensor{})));
  if (sends_.size() > kSendsUnderWay) finish_oldest_send(run.cx);
}

void Executor::finish_oldest_send(Context& cx) {
  const double begin = now_s();
  sends_.front()->wait(cx.stream);
  sends_.pop_front();
  waited_s_ += now_s() - begin;
}

}  // namespace gradwire
