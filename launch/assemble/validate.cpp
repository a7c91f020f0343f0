#include "launch/assemble/validate.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/assemble/stages.h"
#include "launch/start/device.h"
#include "launch/start/rendezvous.h"

#include "jobs/job.h"
#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

// The rules between keys of which the program itself makes something.
class Rules {
 public:
  Rules(const Recipe& r, ProblemList& out) : r_(r), out_(out) {}

  void check(int ranks) {
    const bool tied = out_.empty() && !job_of(r_).outline(r_).tied.empty();
    cut();
    if (!is_builtin_schedule(r_.parallel.schedule) && ranks % r_.parallel.pipeline == 0)
      written_schedule(static_cast<int>(r_.parallel.replicas(ranks)), tied);
    communication();
    device();
  }

 private:
  void device() {
    if (r_.run.device != "cuda") return;
    const std::optional<GpuObjection> found = gpu_objection(r_);
    if (found) out_.blame({"run.device", found->key}, found->text);
  }

  void cut() {
    const ParallelRecipe& p = r_.parallel;
    const int units = job_of(r_).units(r_);
    const std::int64_t stages = p.pipeline * p.chunks;
    if (stages > units) {
      out_.blame({"parallel.pipeline", "parallel.chunks"},
                 fmt::format("{} stages for {} units of the model", stages, units));
    }
    if (p.chunks > 1 && p.schedule != "interleaved") {
      out_.blame({"parallel.chunks", "parallel.schedule"},
                 "several stages a rank need the schedule interleaved (a file says for itself)");
    }
    const bool written = p.stages != "measured" && p.stages != "even";
    if (!written || !is_builtin_schedule(p.schedule) || stages == 1 || stages > units) return;
    try {
      parse_cut(p.stages, units, static_cast<int>(stages));
    } catch (const Error& e) {
      out_.blame({"parallel.stages"}, e.what());
    }
  }

  void written_schedule(int replicas, bool tied) {
    const std::string& path = r_.parallel.schedule;
    if (!std::filesystem::is_regular_file(path)) {
      return out_.blame(
          {"parallel.schedule"},
          fmt::format("'{}' is neither gpipe, 1f1b, interleaved or zero_bubble nor a file", path),
          true);
    }
    try {
      pipeline_schedule(r_, replicas, tied);
    } catch (const Error& e) {
      out_.blame({"parallel.schedule"}, e.what(), true);
    }
  }

  void communication() {
    if (r_.comm.address.empty()) return;
    if (r_.comm.backend == "mpi") {
      out_.blame({"comm.address", "comm.backend"}, "MPI knows by itself where ranks are");
    }
    try {
      parse_address(r_.comm.address);
    } catch (const Error& e) {
      out_.blame({"comm.address"}, e.what());
    }
  }

  const Recipe& r_;
  ProblemList& out_;
};

}  // namespace

void validate(const Recipe& r, int world_size, Inputs inputs) {
  if (world_size < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("validate: {} ranks", world_size));
  }
  std::vector<Problem> problems = range_problems(r);
  if (problems.empty()) {
    ProblemList found(r.origins);
    job_of(r).check(r, world_size, inputs, found);
    check_common_rules(r, world_size, found);
    Rules(r, found).check(world_size);
    problems = found.take();
  }
  if (!problems.empty()) throw RecipeError(std::move(problems));
}

}  // namespace gradwire
