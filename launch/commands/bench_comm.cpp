#include <string>

#include <fmt/format.h>

#include "launch/assemble/session.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"
#include "launch/measure/comm_bench.h"
#include "launch/measure/exchange_kinds.h"
#include "launch/start/environment.h"

namespace gradwire {
namespace {

// A recipe that sets nothing must at least name a text.
Recipe asked_recipe(const RecipeArgs& args) {
  if (!args.path.empty()) return load_recipe(args);
  std::vector<std::string> set = args.set;
  set.insert(set.begin(), "data.text=['none']");
  return load_recipe("/dev/null", set, args.jobs);
}

Recipe checked_recipe(const RecipeArgs& args) {
  const int ranks = read_rank_environment().size;
  Recipe recipe = for_workers(asked_recipe(args), ranks);
  validate(recipe, ranks, Inputs::kNotNeeded);
  return recipe;
}

// In f32 bytes, as the codecs' inputs and outputs are.
std::string rate_text(double parameters_per_s) {
  constexpr double kGigabyte = 1e9;
  return parameters_per_s == 0.0
             ? "-"
             : fmt::format("{:.2f}", parameters_per_s * sizeof(float) / kGigabyte);
}

void print(const CommBench& b, const Session& session, Communicator& comm) {
  fmt::print("ranks      {}; {}\n", comm.describe(), session.threads_text());
  if (comm.size() > 1) {
    fmt::print("network    {} a rank, {} in all-reduces, {:.3g} ms a round, {:.3g} us a message\n",
               bandwidth_text(b.network.bandwidth), bandwidth_text(b.network.reducing),
               1e3 * b.network.latency_s, 1e6 * b.network.message_s);
  }
  fmt::print("exchanges  of {} parameters; predicted by the cost model beside measured\n",
             b.elements);
  fmt::print("a step     of {} parameters, {:.3g} s of computing\n\n", b.parameters, b.compute_s);
  fmt::print("{:18} {:>8} {:>11} {:>11} {:>13} {:>12} {:>13} {:>8} {:>8}\n", "exchange", "B/param",
             "encode GB/s", "decode GB/s", "predicted ms", "measured ms", "breaks even", "step s",
             "of f32");
  for (const ExchangeRow& r : b.rows) {
    const bool dense = r.encode == 0.0;
    fmt::print("{:18} {:8.3f} {:>11} {:>11} {:13.3f} {:12.3f} {:>13} {:8.3g} {:8.2f}\n", r.name,
               r.bytes_per_parameter, rate_text(r.encode), rate_text(r.decode), 1e3 * r.predicted_s,
               1e3 * r.measured_s, dense ? "-" : bandwidth_text(r.break_even), r.step_s,
               b.rows.front().step_s / r.step_s);
  }
}

}  // namespace

ExitCode run_bench_comm(const BenchCommArgs& args) {
  Session session(checked_recipe(args.recipe),
                  fmt::format("bench comm --parameters {}", args.parameters));
  const CommBench bench =
      bench_comm(session.cx(), session.comm(), session.recipe(), args.parameters);
  if (session.is_first()) print(bench, session, session.comm());
  return ExitCode::kDone;
}

}  // namespace gradwire
