#include "launch/measure/step_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/ops/linear/linear.h"
#include "launch/assemble/learner.h"
#include "launch/assemble/stages.h"
#include "launch/measure/exchange_probe.h"
#include "parallel/agreement.h"
#include "parallel/pipeline/pipeline.h"

#include "jobs/job.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median_of(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

}  // namespace

StepTimes time_steps(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t warmup,
                     std::int64_t steps) {
  const Mesh mesh = make_mesh(comm, mesh_shape(recipe, comm.size()));
  const std::unique_ptr<Job> job = job_of(recipe).make(recipe);
  const ModelOutline outline = job->outline();
  const Stages stages = plan_stages(cx, comm, recipe, *job);
  const std::unique_ptr<Task> task = job->build(cx, {mesh, stages}, Content::kRandom);
  const ParameterSet trained = task->trained();
  Learner learner(cx, mesh, recipe, trained, frozen_in(*task), outline.tied, task->conditional());
  const ExchangeForecast exchange = probe_exchange(cx, comm, recipe, learner.ranks()).forecast;
  Pipeline pipeline(*mesh.pipeline, stages.schedule,
                    make_transport(cx, *mesh.pipeline, recipe, outline, stages.schedule));
  const int micros = stages.schedule.micros;

  Update update(update_options(recipe), learner.optimizer(), learner.ranks());
  ExecutorHooks hooks;
  hooks.recorded = [&](Tape& tape) { update.overlap(cx, tape, micros); };
  hooks.tie = [&](int) { update.submit_tied(cx); };
  const auto one_step = [&](std::int64_t step) {
    update.begin(step, /*settle=*/false);
    for (Parameter* p : trained)
      clear_grad(*p);
    StageModel& micro_batches = task->next_step();
    StepWeight whole(cx, *mesh.data, micro_batches, micros);
    pipeline.train(cx, micro_batches, whole, hooks);
    update.finish_gradients(cx);
    update.norm(cx);
    update.apply(cx, recipe.optim.lr);
  };

  PipelineMeter rehearsal(pipeline), meter(pipeline);
  StepTimes times;
  times.flops_per_step =
      outline.flops_per_sequence * static_cast<double>(recipe.batch.micro * micros);
  times.count_per_step = recipe.batch.global * outline.count_per_sequence;
  times.counts = outline.counts;
  std::int64_t allocations_before = 0, sent_before = 0;
  std::vector<double> computing;
  for (std::int64_t step = 1; step <= warmup + steps; ++step) {
    if (step == warmup + 1) {
      allocations_before = cx.alloc->stats().system_allocations;
      sent_before = comm.ledger().total().sent_bytes;
    }
    comm.barrier();
    const Clock::time_point start = Clock::now();
    one_step(step);
    synchronize(cx.stream);
    const double seconds = seconds_since(start), wait = learner.ranks().take_wait_seconds();
    (step > warmup ? meter : rehearsal).add_step(cx);
    if (step <= warmup) continue;
    times.seconds.push_back(seconds);
    computing.push_back(seconds - wait);
  }
  times.wire_bytes_per_step = static_cast<double>(comm.ledger().total().sent_bytes - sent_before) /
                              static_cast<double>(steps);
  times.exchange_bytes = cx.alloc->stats().of(Segment::kComm).live_bytes;
  times.pipeline = meter.report(cx, stages);
  times.system_allocations = cx.alloc->stats().system_allocations - allocations_before;
  times.compute_s = max_over_ranks(cx, comm, median_of(computing));
  const StepCost cost = step_cost(exchange, times.compute_s);
  times.predicted_s = update.is_dense() ? cost.dense_step_s() : cost.compressed_step_s();
  return times;
}

double matmul_peak_flops(Context& cx, DType precision) {
  double best = 0.0;
  for (const std::int64_t n : {512, 1024, 2048}) {
    Parameter weight;
    weight.value = Tensor::empty(cx, {n, n}, DType::kF32);
    fill_uniform(cx, weight.value, Rng{1, 0}, -1.0, 1.0);
    Tensor x = Tensor::empty(cx, {n, n}, precision);
    fill_uniform(cx, x, Rng{2, 0}, -1.0, 1.0);
    const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n * n);
    double total = 0.0;
    for (int i = 0; i < 4 || total < 0.3; ++i) {
      Tape tape(/*recording=*/false);
      const Clock::time_point start = Clock::now();
      linear(cx, tape, tape.constant(x), tape.param(weight));
      synchronize(cx.stream);
      const double seconds = seconds_since(start);
      total += seconds;
      best = std::max(best, flops / seconds);
    }
  }
  return best;
}

}  // namespace gradwire
