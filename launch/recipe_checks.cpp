#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/recipe_io.h"
#include "launch/recipe_walk.h"
#include "launch/rendezvous.h"
#include "launch/stages.h"

namespace gradwire {
namespace {

class RangeCheck : public KeyWalk<RangeCheck> {
 public:
  explicit RangeCheck(const Origins& origins) : origins_(origins) {}

  template <class T>
  void field(const std::string& key, T& value, const char*, const Limits& limits) {
    const auto message = violation(value, limits);
    if (!message) return;
    const Place place = origins_.of(key);
    problems_.push_back({place.file, place.line, key, *message, false});
  }

  std::vector<Problem> take() { return std::move(problems_); }

 private:
  const Origins& origins_;
  std::vector<Problem> problems_;
};

// The rules between keys. Only called on values that are in range.
class Rules {
 public:
  explicit Rules(const Recipe& r) : r_(r) {}

  std::vector<Problem> check(std::int64_t ranks) {
    model();
    sizes();
    if (pipeline(ranks)) batch(r_.parallel.replicas(ranks));
    steps();
    compression();
    sharding();
    communication();
    text();
    return std::move(problems_);
  }

 private:
  // Blames the first of the keys that the recipe sets; the first of all where it sets none.
  void blame(std::initializer_list<const char*> keys, std::string message, bool of_host = false) {
    const auto set =
        std::ranges::find_if(keys, [&](const char* key) { return r_.origins.of(key).line != 0; });
    const char* key = set != keys.end() ? *set : *keys.begin();
    const Place place = r_.origins.of(key);
    problems_.push_back({place.file, place.line, key, std::move(message), of_host});
  }

  void model() {
    const ModelRecipe& m = r_.model;
    if (m.width % m.heads != 0) {
      blame({"model.heads", "model.width"},
            fmt::format("{} heads do not divide width {}", m.heads, m.width));
    } else if (m.width / m.heads % 2 != 0) {
      blame({"model.heads", "model.width"},
            fmt::format("width {} over {} heads gives heads of {}: rotary positions need an even "
                        "number",
                        m.width, m.heads, m.width / m.heads));
    }
    if (m.heads % m.resolved_kv_heads() != 0) {
      blame({"model.kv_heads", "model.heads"},
            fmt::format("{} key and value heads do not divide {} heads", m.kv_heads, m.heads));
    }
    if (r_.generate.top_k > r_.data.vocab_size) {
      blame({"generate.top_k", "data.vocab_size"},
            fmt::format("{} likeliest tokens of a vocabulary of {}", r_.generate.top_k,
                        r_.data.vocab_size));
    }
  }

  // What would not fit into all memory there is, nor into the numbers that plans are made with.
  void sizes() {
    constexpr double kMostBytes = 0x1p43, kBytes = 4.0;
    const auto as_double = [](std::int64_t n) { return static_cast<double>(n); };
    const double layers = as_double(r_.model.layers), width = as_double(r_.model.width),
                 ffn = as_double(r_.model.resolved_ffn_width()),
                 vocab = as_double(r_.data.vocab_size);
    const double parameters = layers * width * (4.0 * width + 3.0 * ffn) + 2.0 * vocab * width;
    if (kBytes * parameters > kMostBytes) {
      blame({"model.layers", "model.width", "model.ffn_width"},
            fmt::format("a model of {:.2g} parameters; at most {:.2g}", parameters,
                        kMostBytes / kBytes));
    }
    const double rows = as_double(r_.batch.micro) * as_double(r_.data.context);
    const double activations = rows * (layers * (8.0 * width + 3.0 * ffn) + vocab);
    if (kBytes * activations > kMostBytes) {
      blame({"batch.micro", "data.context", "model.layers", "model.width"},
            fmt::format("{:.2g} numbers to keep of a micro-batch; at most {:.2g}", activations,
                        kMostBytes / kBytes));
    }
  }

  // Whether the ranks make up whole replicas.
  bool pipeline(std::int64_t ranks) {
    const ParallelRecipe& p = r_.parallel;
    const std::int64_t units = r_.model.layers + 2, stages = p.pipeline * p.chunks;
    if (ranks % p.pipeline != 0) {
      blame({"parallel.pipeline"},
            fmt::format("{} ranks are no multiple of a pipeline of {}", ranks, p.pipeline));
      return false;
    }
    if (stages > units) {
      blame({"parallel.pipeline", "parallel.chunks", "model.layers"},
            fmt::format("{} stages for {} units (the embedding, {} blocks and the head)", stages,
                        units, r_.model.layers));
    }
    if (p.chunks > 1 && p.schedule != "interleaved") {
      blame({"parallel.chunks", "parallel.schedule"},
            "several stages a rank need the schedule interleaved (a file says for itself)");
    }
    const bool builtin = is_builtin_schedule(p.schedule);
    if (!builtin) written_schedule(ranks);
    if (builtin && p.stages != "measured" && p.stages != "even" && stages > 1 && stages <= units) {
      try {
        parse_cut(p.stages, static_cast<int>(units), static_cast<int>(stages));
      } catch (const Error& e) {
        blame({"parallel.stages"}, e.what());
      }
    }
    return true;
  }

  void written_schedule(std::int64_t ranks) {
    const std::string& path = r_.parallel.schedule;
    if (!std::filesystem::is_regular_file(path)) {
      return blame(
          {"parallel.schedule"},
          fmt::format("'{}' is neither gpipe, 1f1b, interleaved or zero_bubble nor a file", path),
          true);
    }
    try {
      pipeline_schedule(r_, static_cast<int>(r_.parallel.replicas(ranks)));
    } catch (const Error& e) {
      blame({"parallel.schedule"}, e.what(), true);
    }
  }

  void batch(std::int64_t ranks) {
    const std::int64_t step = r_.batch.micro * ranks;
    if (r_.batch.global % step == 0) return;
    const std::int64_t below = r_.batch.global / step * step;
    const std::string nearest =
        below == 0 ? fmt::format("{}", step) : fmt::format("{} or {}", below, below + step);
    blame({"batch.global", "batch.micro"},
          fmt::format("{} sequences are not a multiple of micro x {} = {} x {} = {}; nearest: {}",
                      r_.batch.global, r_.parallel.pipeline > 1 ? "replicas" : "ranks",
                      r_.batch.micro, ranks, step, nearest));
  }

  void steps() {
    if (r_.schedule.warmup_steps > r_.train.steps) {
      blame({"schedule.warmup_steps", "train.steps"},
            fmt::format("a warm-up of {} steps in a run of {}", r_.schedule.warmup_steps,
                        r_.train.steps));
    }
    if (r_.train.eval_every > 0 && r_.data.validation_share == 0.0) {
      blame({"train.eval_every", "data.validation_share"},
            "nothing to evaluate on: data.validation_share is 0");
    }
    if (r_.optim.name == "sgd" && r_.optim.nesterov && r_.optim.momentum == 0.0) {
      blame({"optim.nesterov", "optim.momentum"}, "Nesterov's form needs a momentum above 0");
    }
  }

  void compression() {
    const CompressRecipe& c = r_.compress;
    if (r_.optim.is_onebit() && !r_.compresses()) {
      blame({"compress.method", "optim.name"},
            fmt::format("{} exchanges its own state compressed: use adamw to exchange gradients as "
                        "they are",
                        r_.optim.name));
    }
    if (c.block % 64 != 0) {
      blame({"compress.block"}, fmt::format("{} elements are no multiple of 64", c.block));
    }
    if (c.levels != 1 && c.levels != 7 && c.levels != 127) {
      blame({"compress.levels"}, fmt::format("must be 1, 7 or 127, got {}", c.levels));
    }
    if (r_.optim.thaw_ratio != 0.0 && r_.optim.thaw_ratio <= 1.0) {
      blame({"optim.thaw_ratio"}, fmt::format("must be 0 or above 1, got {}", r_.optim.thaw_ratio));
    }
    if (!r_.optim.uncompressed.empty() && r_.optim.is_onebit() && r_.optim.name != "onebit_adam") {
      blame({"optim.uncompressed", "optim.name"},
            fmt::format("{} compresses all parameters: only onebit_adam, and rules that exchange "
                        "gradients, leave some out",
                        r_.optim.name));
    }
    if (r_.optim.is_onebit() && r_.optim.freeze_step >= r_.train.steps) {
      blame({"optim.freeze_step", "train.steps"},
            fmt::format("{} dense steps in a run of {}: nothing would be compressed",
                        r_.optim.freeze_step, r_.train.steps));
    }
  }

  void sharding() {
    if (!r_.parallel.shard_optimizer || !r_.optim.is_onebit()) return;
    const std::string method = r_.compress.resolved_method(true);
    if (r_.optim.name == "onebit_lamb") {
      blame({"parallel.shard_optimizer", "optim.name"},
            "onebit_lamb scales by norms of whole parameters, which no rank's slice has");
    } else if (r_.optim.name == "zero_one_adam") {
      blame({"parallel.shard_optimizer", "optim.name"},
            "zero_one_adam takes steps of every rank's own, for which each needs all of the state");
    } else if (method != "ef" && method != "plain") {
      blame(
          {"parallel.shard_optimizer", "compress.method"},
          fmt::format("sharded, onebit_adam goes on from what was sent last, which takes 'ef' (or "
                      "'plain'), not '{}'",
                      method));
    }
  }

  void communication() {
    if (r_.comm.address.empty()) return;
    if (r_.comm.backend == "mpi") {
      blame({"comm.address", "comm.backend"}, "MPI knows by itself where ranks are");
    }
    try {
      parse_address(r_.comm.address);
    } catch (const Error& e) {
      blame({"comm.address"}, e.what());
    }
  }

  void text() {
    for (const std::string& path : r_.data.text) {
      std::error_code failure;
      if (!std::filesystem::is_regular_file(path, failure)) {
        blame({"data.text"}, fmt::format("no such file: '{}'", path), true);
      } else if (!std::ifstream(path)) {
        blame({"data.text"}, fmt::format("not readable: '{}'", path), true);
      }
    }
  }

  const Recipe& r_;
  std::vector<Problem> problems_;
};

// By file, in the order in which files first appear, then by line.
std::vector<Problem> sorted(std::vector<Problem> problems) {
  StringList files;
  for (const Problem& p : problems) {
    if (std::ranges::count(files, p.file) == 0) files.push_back(p.file);
  }
  std::ranges::stable_sort(problems, {}, [&](const Problem& p) {
    return std::pair(std::ranges::find(files, p.file) - files.begin(), p.line);
  });
  return problems;
}

std::string listing(const std::vector<Problem>& problems) {
  StringList lines;
  for (const Problem& p : problems)
    lines.push_back(to_text(p));
  if (lines.size() == 1) return lines.front();
  return fmt::format("{} problems\n{}", lines.size(), fmt::join(lines, "\n"));
}

}  // namespace

std::string to_text(const Problem& p) {
  const std::string line = p.line == 0 ? "" : fmt::format("{}:", p.line);
  const std::string key = p.key.empty() ? "" : p.key + ": ";
  return fmt::format("{}:{} {}{}", p.file, line, key, p.message);
}

RecipeError::RecipeError(std::vector<Problem> problems)
    : Error(ErrorKind::kConfig, listing(sorted(problems))), problems_(sorted(problems)) {}

bool RecipeError::same_everywhere() const noexcept {
  return std::ranges::none_of(problems_, &Problem::of_this_host);
}

Place Origins::of(std::string_view key) const {
  const auto found = places.find(key);
  return found == places.end() ? Place{file, 0} : found->second;
}

std::vector<Problem> range_problems(const Recipe& r) {
  Recipe copy = r;
  RangeCheck check(r.origins);
  copy.fields(check);
  return check.take();
}

void validate(const Recipe& r, int world_size) {
  if (world_size < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("validate: {} ranks", world_size));
  }
  std::vector<Problem> problems = range_problems(r);
  if (problems.empty()) problems = Rules(r).check(world_size);
  if (!problems.empty()) throw RecipeError(std::move(problems));
}

void validate_without_text(const Recipe& r, int world_size) {
  try {
    validate(r, world_size);
  } catch (const RecipeError& e) {
    std::vector<Problem> problems = e.problems();
    std::erase_if(problems, [](const Problem& p) { return p.key == "data.text"; });
    if (!problems.empty()) throw RecipeError(std::move(problems));
  }
}

}  // namespace gradwire
