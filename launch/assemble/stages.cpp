#include "launch/assemble/stages.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/file.h"
#include "core/host_name.h"
#include "core/printable.h"
#include "launch/start/device.h"
#include "parallel/pipeline/compressed_transport.h"
#include "parallel/pipeline/difference_code.h"
#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

std::string file_text(const std::string& path) {
  try {
    return read_text(path);
  } catch (const Error& e) {
    throw Error(ErrorKind::kConfig, e.what());
  }
}

Schedule computing(const ParallelRecipe& p, int micros) {
  const int ranks = static_cast<int>(p.pipeline);
  if (p.schedule == "gpipe") return gpipe(ranks, micros);
  if (p.schedule == "zero_bubble") return zero_bubble(ranks, micros);
  if (p.schedule == "interleaved") return interleaved(ranks, static_cast<int>(p.chunks), micros);
  return one_f_one_b(ranks, micros);
}

std::string cut_path(const Recipe& recipe) {
  return recipe.run.dir + "/stages.txt";
}

// The cut with which this run began, or empty.
std::vector<UnitRange> cut_so_far(const Recipe& recipe, int units, int stages) {
  std::ifstream in(cut_path(recipe));
  std::string line;
  if (!next_line(in, line, kMostTextBytes)) return {};
  try {
    return parse_cut(line, units, stages);
  } catch (const Error&) {
    return {};  // of another pipeline
  }
}

std::vector<UnitRange> from_ends(std::span<const std::int64_t> ends) {
  std::vector<UnitRange> cut;
  int begin = 0;
  for (const std::int64_t end : ends) {
    cut.push_back({begin, static_cast<int>(end)});
    begin = static_cast<int>(end);
  }
  return cut;
}

// Rank 0's, for all ranks.
std::vector<UnitRange> agree_on(Context& cx, Communicator& world,
                                const std::vector<UnitRange>& mine) {
  std::vector<std::int64_t> ends;
  for (const UnitRange& r : mine)
    ends.push_back(r.end);
  Context host = cx.on_host();
  Tensor t = Tensor::from(host, {std::ssize(ends)}, ends);
  if (world.size() > 1) world.broadcast(t, 0, host.stream)->wait(host.stream);
  return from_ends(t.to_host<std::int64_t>(host));
}

}  // namespace

bool is_builtin_schedule(std::string_view name) {
  return name == "gpipe" || name == "1f1b" || name == "interleaved" || name == "zero_bubble";
}

MeshShape mesh_shape(const Recipe& recipe, int ranks) {
  const auto pipeline = static_cast<int>(recipe.parallel.pipeline);
  return {ranks / pipeline, pipeline};
}

Schedule pipeline_schedule(const Recipe& recipe, int replicas, bool tied) {
  const ParallelRecipe& p = recipe.parallel;
  const auto micros = static_cast<int>(recipe.batch.accumulation(replicas));
  tied = tied && p.pipeline > 1;
  if (is_builtin_schedule(p.schedule)) return with_messages(computing(p, micros), tied);
  const Schedule written = written_schedule(file_text(p.schedule), tied);
  if (std::ssize(written.ranks) != p.pipeline || written.micros != micros) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: {} ranks and {} micro-batches; the recipe has {} and {}",
                            p.schedule, written.ranks.size(), written.micros, p.pipeline, micros));
  }
  return written;
}

Stages stages_without_measuring(const Recipe& recipe, const ModelOutline& model, int replicas) {
  Stages stages{pipeline_schedule(recipe, replicas, !model.tied.empty()), {}, {}};
  const int units = model.size(), count = stages.schedule.stages();
  const std::string& wanted = recipe.parallel.stages;
  if (count > 1 && wanted != "even" && wanted != "measured") {
    stages.cut = parse_cut(wanted, units, count);
  } else {
    stages.cut = even_cut(units, count);
  }
  return stages;
}

Stages plan_stages(Context& cx, Communicator& world, const Recipe& recipe, Job& job) {
  const MeshShape shape = mesh_shape(recipe, world.size());
  const ModelOutline model = job.outline();
  Stages stages = stages_without_measuring(recipe, model, shape.data);
  const int units = model.size(), count = stages.schedule.stages();
  if (count == 1 || recipe.parallel.stages != "measured") return stages;
  stages.cost = job.measure(cx);
  std::vector<double> seconds;
  for (const UnitCost& c : stages.cost)
    seconds.push_back(c.seconds);
  std::vector<UnitRange> cut = cut_so_far(recipe, units, count);
  if (cut.empty()) cut = balanced_cut(seconds, count);
  stages.cut = agree_on(cx, world, cut);
  return stages;
}

void keep_stages(const Recipe& recipe, const Stages& stages) {
  if (!stages.cost.empty()) publish_text(cut_path(recipe), to_text(stages.cut) + "\n");
}

std::string placement_text(Coordinator& ranks, const Mesh& mesh, const Stages& stages,
                           Device device) {
  std::string mine = fmt::format("{:>4}  {}  {}  replica {}", ranks.rank(), host_name(),
                                 describe(device), mesh.here.data);
  for (int s = 0; s < stages.schedule.stages(); ++s) {
    if (stages.schedule.rank_of(s) != mesh.here.pipeline) continue;
    const UnitRange units = stages.cut[static_cast<std::size_t>(s)];
    mine += fmt::format(", stage {} (units {} to {}", s, units.begin, units.end - 1);
    UnitCost cost;
    for (int u = units.begin; u < units.end && !stages.cost.empty(); ++u) {
      cost.seconds += stages.cost[static_cast<std::size_t>(u)].seconds;
      cost.bytes += stages.cost[static_cast<std::size_t>(u)].bytes;
    }
    if (cost.seconds > 0.0) {
      mine += fmt::format("; {:.3g} ms and {:.3g} MB a micro-batch", 1e3 * cost.seconds,
                          static_cast<double>(cost.bytes) / 1e6);
    }
    mine += ")";
  }
  std::string text = "rank  host  device  place";
  for (const std::string& line : ranks.all_gather(mine))
    text += '\n' + printable_word(line);
  return text;
}

std::unique_ptr<ActivationTransport> make_transport(Context& cx, Communicator& ranks,
                                                    const Recipe& recipe, const ModelOutline& model,
                                                    const Schedule& schedule) {
  const std::string& name = recipe.parallel.boundary;
  if (name == "bf16") return make_bf16_transport(ranks);
  if (name == "int8") return make_int8_transport(cx, ranks, schedule, model.boundary);
  return make_plain_transport(ranks);
}

std::int64_t boundary_bytes(const Recipe& recipe, const ModelOutline& model) {
  const std::int64_t numel = model.boundary.numel();
  if (recipe.parallel.boundary == "int8") return DifferenceCode(numel).bytes();
  const DType type = recipe.parallel.boundary == "bf16" ? DType::kBf16 : model.boundary_type;
  return numel * static_cast<std::int64_t>(size_of(type));
}

std::string layout_text(const Recipe& recipe, const ModelOutline& model, const Stages& stages) {
  if (recipe.parallel.pipeline == 1) return "";
  std::string text =
      fmt::format("pipeline {}, stages {}", recipe.parallel.pipeline, to_text(stages.cut));
  if (recipe.parallel.boundary == "int8") {  // which keeps references of this size
    text += fmt::format(", {} references of {}", stages.schedule.micros, to_string(model.boundary));
  }
  return text;
}

}  // namespace gradwire
