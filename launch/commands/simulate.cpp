#include <fmt/format.h>

#include "core/error.h"
#include "core/host_limits.h"
#include "core/parallel_for.h"
#include "launch/assemble/plan.h"
#include "launch/assemble/stages.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"
#include "launch/measure/exchange_kinds.h"
#include "launch/measure/simulation.h"
#include "launch/start/threads.h"

namespace gradwire {
namespace {

NetworkModel network_of(const SimulateArgs& args) {
  if (args.workers % args.workers_per_host != 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{} workers do not fill hosts of {}", args.workers,
                                               args.workers_per_host));
  }
  NetworkModel net;
  net.hosts = args.workers / args.workers_per_host;
  net.ranks_per_host = args.workers_per_host;
  net.bandwidth = parse_bandwidth(args.bandwidth);
  net.latency_s = 1e-3 * args.latency_ms;
  net.message_s = 1e-6 * args.message_us;
  if (!args.local_bandwidth.empty()) net.local_bandwidth = parse_bandwidth(args.local_bandwidth);
  return net;
}

void print_exchanges(const Simulation& s, double count, const std::string& counts) {
  constexpr double kMegabyte = 1e6;
  fmt::print("{:22} {:>10} {:>12} {:>10} {:>10} {:>12} {:>8}\n", "exchange", "MB sent",
             "exchange s", "codec s", "step s", counts + "/s", "of f32");
  const auto print = [&](const SimulatedExchange& e) {
    fmt::print("{:22} {:10.4g} {:12.4g} {:10.4g} {:10.4g} {:12.6g} {:8.2f}\n", e.name,
               e.sent_bytes / kMegabyte, e.exchange_s, e.codec_s, e.step_s, count / e.step_s,
               s.exchanges.front().step_s / e.step_s);
  };
  for (const SimulatedExchange& e : s.exchanges)
    print(e);
  print(s.ring);
}

// The model is made here, and a step of it is measured here if nobody says what it takes.
void check_model_fits(const Recipe& recipe, const SimulateArgs& args) {
  Plan plan = make_plan(recipe, job_of(recipe).outline(recipe), mesh_shape(recipe, args.workers));
  if (args.compute_s) plan.memory.optim = plan.memory.activations = 0;
  check_fits(plan, {.bytes = available_memory_bytes()});
}

}  // namespace

ExitCode run_simulate(const SimulateArgs& args) {
  const NetworkModel network = network_of(args);
  const Recipe asked = load_recipe(args.recipe);
  const Recipe recipe = for_workers(asked, args.workers);
  validate(recipe, args.workers, Inputs::kNotNeeded);
  check_model_fits(recipe, args);
  const int threads =
      choose_threads_alone(args.workers_per_host, static_cast<int>(recipe.train.threads)).count;
  set_thread_count(threads);

  Runtime runtime;
  const Simulation s = simulate(runtime.context(), recipe, network, args.compute_s);
  const ModelOutline model = job_of(recipe).outline(recipe);
  const auto count = static_cast<double>(recipe.batch.global * model.count_per_sequence);
  fmt::print("workers     {} on {} hosts, {} and {:.3g} ms between hosts, {:.3g} us a message\n",
             args.workers, network.hosts, bandwidth_text(network.bandwidth), args.latency_ms,
             args.message_us);
  fmt::print("parameters  {} in {} buckets\n", s.parameters, s.buckets);
  fmt::print("batch       {} sequences{}, {:.0f} {} a step\n", recipe.batch.global,
             recipe.batch.global == asked.batch.global
                 ? ""
                 : fmt::format(" (the recipe's {} do not divide)", asked.batch.global),
             count, model.counts);
  fmt::print("computing   {:.4g} s a step, {}\n", s.compute_s,
             args.compute_s ? "as given" : fmt::format("measured here, {} threads", threads));
  print_exchanges(s, count, model.counts);
  if (recipe.compresses()) {
    fmt::print(
        "whole run   {} of {} steps dense: {:.2f} times fewer bytes than dense f32, {:.2f} "
        "times as fast\n",
        s.dense_steps, recipe.train.steps, s.fewer_bytes, s.speed_up);
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
