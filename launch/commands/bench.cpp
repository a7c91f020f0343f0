#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "launch/assemble/plan.h"
#include "launch/assemble/session.h"
#include "launch/assemble/stages.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"
#include "launch/measure/step_bench.h"
#include "parallel/agreement.h"

namespace gradwire {
namespace {

double peak_rss_bytes() {
  struct rusage use {};
  getrusage(RUSAGE_SELF, &use);
  constexpr double kKibibyte = 1024.0;
  return static_cast<double>(use.ru_maxrss) * kKibibyte;
}

}  // namespace

// One JSON object on rank 0, with the keys of bench/peer_torch.py.
ExitCode run_bench_step(const BenchStepArgs& args) {
  const RankEnvironment env = read_rank_environment();
  Recipe recipe = load_recipe(args.recipe);
  validate(recipe, env.size);
  const Plan plan = make_plan(recipe, job_of(recipe).outline(recipe), mesh_shape(recipe, env.size));
  check_fits(plan, room_of_rank(recipe, env));
  Session session(std::move(recipe),
                  fmt::format("bench step --warmup {} --steps {}", args.warmup, args.steps));
  StepTimes times =
      time_steps(session.cx(), session.comm(), session.recipe(), args.warmup, args.steps);
  const double rss = max_over_ranks(session.cx(), session.comm(), peak_rss_bytes());
  const DType precision = session.recipe().precision == "bf16" ? DType::kBf16 : DType::kF32;
  const double peak = matmul_peak_flops(session.cx(), precision);
  if (!session.is_first()) return ExitCode::kDone;

  std::sort(times.seconds.begin(), times.seconds.end());
  const double median = times.seconds[times.seconds.size() / 2];
  const auto rate = [&](double seconds) {
    return static_cast<double>(times.count_per_step) / seconds;
  };
  const MemoryStats memory = session.allocator().stats();
  const nlohmann::json result = {
      {"program", "gradwire"},
      {"precision", session.recipe().precision},
      {"device", describe(session.device())},
      {"ranks", session.env().size},
      {"threads", session.threads()},
      {times.counts + "_per_s",
       {{"median", rate(median)},
        {"min", rate(times.seconds.back())},
        {"max", rate(times.seconds.front())}}},
      {"peak_rss_bytes", static_cast<std::int64_t>(rss)},
      {"tensor_peak_bytes", memory.peak_bytes},
      {"optimizer_bytes", memory.of(Segment::kOptim).peak_bytes},
      {"exchange_bytes", times.exchange_bytes},
      {"step_s", median},
      {"predicted_step_s", times.predicted_s},
      {"wire_bytes_per_step", times.wire_bytes_per_step},
      {"bubble_share", times.pipeline.bubble_share},
      {"predicted_bubble_share", times.pipeline.predicted_bubble_share},
      {"activation_bytes", times.pipeline.activation_bytes},
      {"predicted_activation_bytes", times.pipeline.predicted_activation_bytes},
      {"system_allocations", times.system_allocations},
      {"gflops", times.flops_per_step / median / 1e9},
      {"matmul_peak_gflops", peak / 1e9},
      {"share_of_matmul_peak", times.flops_per_step / median / peak}};
  fmt::print("{}\n", result.dump());
  return ExitCode::kDone;
}

}  // namespace gradwire
