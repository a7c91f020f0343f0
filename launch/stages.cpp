#include "launch/stages.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/sockets.h"
#include "core/error.h"
#include "data/publish.h"
#include "parallel/pipeline/compressed_boundary.h"
#include "parallel/pipeline/difference_code.h"
#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) throw Error(ErrorKind::kConfig, fmt::format("{}: cannot be read", path));
  return text.str();
}

Schedule computing(const ParallelRecipe& p, int micros) {
  const int ranks = static_cast<int>(p.pipeline);
  if (p.schedule == "gpipe") return gpipe(ranks, micros);
  if (p.schedule == "zero_bubble") return zero_bubble(ranks, micros);
  if (p.schedule == "interleaved") return interleaved(ranks, static_cast<int>(p.chunks), micros);
  return one_f_one_b(ranks, micros);
}

// Of every result that travels between stages.
Shape boundary_shape(const Recipe& recipe) {
  return {recipe.batch.micro, recipe.data.context, recipe.model.width};
}

std::string cut_path(const Recipe& recipe) {
  return recipe.run.dir + "/stages.txt";
}

// The cut with which this run began, or empty.
std::vector<UnitRange> cut_so_far(const Recipe& recipe, int units, int stages) {
  std::ifstream in(cut_path(recipe));
  std::string line;
  if (!std::getline(in, line)) return {};
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
  Tensor t = Tensor::from(cx, {std::ssize(ends)}, ends);
  if (world.size() > 1) world.broadcast(t, 0, cx.stream)->wait(cx.stream);
  return from_ends(t.to_host<std::int64_t>(cx));
}

}  // namespace

bool is_builtin_schedule(std::string_view name) {
  return name == "gpipe" || name == "1f1b" || name == "interleaved" || name == "zero_bubble";
}

MeshShape mesh_shape(const Recipe& recipe, int ranks) {
  const auto pipeline = static_cast<int>(recipe.parallel.pipeline);
  return {ranks / pipeline, pipeline};
}

Schedule pipeline_schedule(const Recipe& recipe, int replicas) {
  const ParallelRecipe& p = recipe.parallel;
  const auto micros = static_cast<int>(recipe.batch.accumulation(replicas));
  const bool tied = p.pipeline > 1 && recipe.model.tie_embeddings;
  if (is_builtin_schedule(p.schedule)) return with_messages(computing(p, micros), tied);
  const Schedule written = written_schedule(file_text(p.schedule), tied);
  if (std::ssize(written.ranks) != p.pipeline || written.micros != micros) {
    throw Error(ErrorKind::kConfig,
                fmt::format("{}: {} ranks and {} micro-batches; the recipe has {} and {}",
                            p.schedule, written.ranks.size(), written.micros, p.pipeline, micros));
  }
  return written;
}

std::vector<UnitRange> balanced_cut(std::span<const double> unit_costs, int stages) {
  const auto units = static_cast<int>(unit_costs.size());
  check(stages >= 1 && stages <= units, ErrorKind::kConfig, "stages: more stages than units");
  std::vector<double> sum(unit_costs.size() + 1, 0.0);
  for (std::size_t u = 0; u < unit_costs.size(); ++u)
    sum[u + 1] = sum[u] + unit_costs[u];
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const auto at = [&](int stage, int end) {
    return static_cast<std::size_t>(stage) * sum.size() + static_cast<std::size_t>(end);
  };
  // Of the units before `end` in s stages: the least cost of the costliest stage, and where the
  // last one begins.
  std::vector<std::pair<double, int>> worst((static_cast<std::size_t>(stages) + 1) * sum.size(),
                                            {kNone, 0});
  worst[at(0, 0)] = {0.0, 0};
  for (int s = 1; s <= stages; ++s) {
    for (int end = s; end <= units - (stages - s); ++end) {
      std::pair<double, int>& best = worst[at(s, end)];
      for (int begin = s - 1; begin < end; ++begin) {
        const double own =
            sum[static_cast<std::size_t>(end)] - sum[static_cast<std::size_t>(begin)];
        best = std::min(best, {std::max(worst[at(s - 1, begin)].first, own), begin});
      }
    }
  }
  std::vector<UnitRange> cut(static_cast<std::size_t>(stages));
  for (int s = stages, end = units; s > 0; --s) {
    const int begin = worst[at(s, end)].second;
    cut[static_cast<std::size_t>(s) - 1] = {begin, end};
    end = begin;
  }
  return cut;
}

std::vector<UnitRange> even_cut(int units, int stages) {
  check(stages >= 1 && stages <= units, ErrorKind::kConfig, "stages: more stages than units");
  const int least = units / stages, first_larger = stages - units % stages;
  std::vector<UnitRange> cut;
  for (int s = 0, begin = 0; s < stages; ++s) {
    const int end = begin + least + (s < first_larger ? 0 : 1);
    cut.push_back({begin, end});
    begin = end;
  }
  return cut;
}

std::vector<UnitRange> parse_cut(std::string_view text, int units, int stages) {
  std::istringstream in{std::string(text)};
  std::vector<UnitRange> cut;
  int begin = 0;
  for (int count = 0; in >> count; begin += count) {
    if (count < 1 || count > units) break;
    cut.push_back({begin, begin + count});
  }
  if (!in.eof() || begin != units || static_cast<int>(cut.size()) != stages) {
    throw Error(ErrorKind::kConfig,
                fmt::format("'{}' does not cut {} units into {} stages", text, units, stages));
  }
  return cut;
}

std::string to_text(const std::vector<UnitRange>& cut) {
  std::vector<int> counts;
  for (const UnitRange& r : cut)
    counts.push_back(r.end - r.begin);
  return fmt::format("{}", fmt::join(counts, " "));
}

StageMemory stage_memory(std::span<const UnitCost> costs, UnitRange units) {
  StageMemory m;
  if (units.begin > 0) m.kept = costs[static_cast<std::size_t>(units.begin) - 1].result_bytes;
  m.kept_split = m.kept;
  std::int64_t rerun_before = 0;  // of units that were differentiated earlier
  for (int u = units.begin; u < units.end; ++u) {
    const UnitCost& unit = costs[static_cast<std::size_t>(u)];
    m.kept += unit.bytes;
    m.backward = std::max(m.backward, m.kept + unit.working_bytes);
    m.kept_split += unit.bytes + unit.rerun_bytes;
  }
  for (int u = units.end - 1; u >= units.begin; --u) {
    const UnitCost& unit = costs[static_cast<std::size_t>(u)];
    m.backward_input = std::max(m.backward_input, m.kept + rerun_before + unit.working_bytes);
    rerun_before += unit.rerun_bytes;
  }
  return m;
}

std::vector<UnitRange> Stages::of_rank(int rank) const {
  std::vector<UnitRange> here;
  for (int s = 0; s < schedule.stages(); ++s)
    if (schedule.rank_of(s) == rank) here.push_back(cut[static_cast<std::size_t>(s)]);
  return here;
}

Stages stages_without_measuring(const Recipe& recipe, const DecoderConfig& config, int replicas) {
  Stages stages{pipeline_schedule(recipe, replicas), {}, {}};
  const int units = unit_count(config), count = stages.schedule.stages();
  const std::string& wanted = recipe.parallel.stages;
  if (count > 1 && wanted != "even" && wanted != "measured") {
    stages.cut = parse_cut(wanted, units, count);
  } else {
    stages.cut = even_cut(units, count);
  }
  return stages;
}

Stages plan_stages(Context& cx, Communicator& world, const Recipe& recipe,
                   const DecoderConfig& config) {
  const MeshShape shape = mesh_shape(recipe, world.size());
  Stages stages = stages_without_measuring(recipe, config, shape.data);
  const int units = unit_count(config), count = stages.schedule.stages();
  if (count == 1 || recipe.parallel.stages != "measured") return stages;
  stages.cost = measure_units(cx, recipe, config);
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

std::string placement_text(Coordinator& ranks, const Mesh& mesh, const Stages& stages) {
  std::string mine =
      fmt::format("{:>4}  {}  cpu  replica {}", ranks.rank(), host_name(), mesh.here.data);
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
  return fmt::format("rank  host  device  place\n{}", fmt::join(ranks.all_gather(mine), "\n"));
}

std::unique_ptr<Boundary> make_boundary(Context& cx, Communicator& ranks, const Recipe& recipe,
                                        const Schedule& schedule) {
  const std::string& name = recipe.parallel.boundary;
  if (name == "bf16") return make_bf16_boundary(ranks);
  if (name == "int8") return make_int8_boundary(cx, ranks, schedule, boundary_shape(recipe));
  return make_plain_boundary(ranks);
}

std::int64_t boundary_bytes(const Recipe& recipe) {
  const std::int64_t numel = boundary_shape(recipe).numel();
  if (recipe.parallel.boundary == "int8") return DifferenceCode(numel).bytes();
  const bool narrow = recipe.precision == "bf16" || recipe.parallel.boundary == "bf16";
  return numel * static_cast<std::int64_t>(size_of(narrow ? DType::kBf16 : DType::kF32));
}

std::string layout_text(const Recipe& recipe, const Stages& stages) {
  if (recipe.parallel.pipeline == 1) return "";
  std::string text =
      fmt::format("pipeline {}, stages {}", recipe.parallel.pipeline, to_text(stages.cut));
  if (recipe.parallel.boundary == "int8") {  // which keeps references of this size
    text += fmt::format(", {} references of {}", stages.schedule.micros,
                        to_string(boundary_shape(recipe)));
  }
  return text;
}

}  // namespace gradwire
