// The rules of a recipe that every job has.
#include <initializer_list>

#include <fmt/format.h>

#include "core/reducer_methods.h"

#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

class RangeCheck : public FieldVisitor {
 public:
  explicit RangeCheck(const Origins& origins) : problems_(origins) {}

  void field(const std::string& key, FieldRef value, const char*, const Limits& limits) override {
    const auto message = std::visit([&](const auto* v) { return violation(*v, limits); }, value);
    if (message) problems_.add(key, *message);
  }

  std::vector<Problem> take() { return problems_.take(); }

 private:
  ProblemList problems_;
};

class Rules {
 public:
  Rules(const Recipe& r, ProblemList& out) : r_(r), out_(out) {}

  void check(std::int64_t ranks) {
    if (ranks % r_.parallel.pipeline != 0) {
      out_.blame({"parallel.pipeline"}, fmt::format("{} ranks are no multiple of a pipeline of {}",
                                                    ranks, r_.parallel.pipeline));
    } else {
      batch(r_.parallel.replicas(ranks));
    }
    steps();
    compression();
    sharding();
  }

 private:
  void batch(std::int64_t ranks) {
    const std::int64_t step = r_.batch.micro * ranks;
    if (r_.batch.global % step == 0) return;
    const std::int64_t below = r_.batch.global / step * step;
    const std::string nearest =
        below == 0 ? fmt::format("{}", step) : fmt::format("{} or {}", below, below + step);
    out_.blame(
        {"batch.global", "batch.micro"},
        fmt::format("{} sequences are not a multiple of micro x {} = {} x {} = {}; nearest: {}",
                    r_.batch.global, r_.parallel.pipeline > 1 ? "replicas" : "ranks",
                    r_.batch.micro, ranks, step, nearest));
  }

  void steps() {
    if (r_.schedule.warmup_steps > r_.train.steps) {
      out_.blame({"schedule.warmup_steps", "train.steps"},
                 fmt::format("a warm-up of {} steps in a run of {}", r_.schedule.warmup_steps,
                             r_.train.steps));
    }
    if (!r_.checkpoint.best.empty() && r_.train.eval_every == 0) {
      out_.blame({"checkpoint.best", "train.eval_every"},
                 "nothing is evaluated to find it by: train.eval_every is 0");
    }
    if (r_.optim.name == "sgd" && r_.optim.nesterov && r_.optim.momentum == 0.0) {
      out_.blame({"optim.nesterov", "optim.momentum"}, "Nesterov's form needs a momentum above 0");
    }
  }

  void compression() {
    const CompressRecipe& c = r_.compress;
    if (r_.optim.is_onebit() && !r_.compresses()) {
      out_.blame(
          {"compress.method", "optim.name"},
          fmt::format("{} exchanges its own state compressed: use adamw to exchange gradients as "
                      "they are",
                      r_.optim.name));
    }
    if (c.block % 64 != 0) {
      out_.blame({"compress.block"}, fmt::format("{} elements are no multiple of 64", c.block));
    }
    if (c.levels != 1 && c.levels != 7 && c.levels != 127) {
      out_.blame({"compress.levels"}, fmt::format("must be 1, 7 or 127, got {}", c.levels));
    }
    if (r_.optim.thaw_ratio != 0.0 && r_.optim.thaw_ratio <= 1.0) {
      out_.blame({"optim.thaw_ratio"},
                 fmt::format("must be 0 or above 1, got {}", r_.optim.thaw_ratio));
    }
    if (!r_.optim.uncompressed.empty() && r_.optim.is_onebit() && r_.optim.name != "onebit_adam") {
      out_.blame(
          {"optim.uncompressed", "optim.name"},
          fmt::format("{} compresses all parameters: only onebit_adam, and rules that exchange "
                      "gradients, leave some out",
                      r_.optim.name));
    }
    if (r_.optim.is_onebit() && r_.optim.freeze_step >= r_.train.steps) {
      out_.blame({"optim.freeze_step", "train.steps"},
                 fmt::format("{} dense steps in a run of {}: nothing would be compressed",
                             r_.optim.freeze_step, r_.train.steps));
    }
  }

  void sharding() {
    if (!r_.parallel.shard_optimizer || !r_.optim.is_onebit()) return;
    const std::string method = r_.compress.resolved_method(true);
    if (r_.optim.name == "onebit_lamb") {
      out_.blame({"parallel.shard_optimizer", "optim.name"},
                 "onebit_lamb scales by norms of whole parameters, which no rank's slice has");
    } else if (r_.optim.name == "zero_one_adam") {
      out_.blame(
          {"parallel.shard_optimizer", "optim.name"},
          "zero_one_adam takes steps of every rank's own, for which each needs all of the state");
    } else if (!supported_by(method).contains(ExchangeKind::kRecalledMomentum)) {
      out_.blame(
          {"parallel.shard_optimizer", "compress.method"},
          fmt::format("sharded onebit_adam requires compress.method 'ef' or 'plain', not '{}'",
                      method));
    }
  }

  const Recipe& r_;
  ProblemList& out_;
};

}  // namespace

std::vector<std::string_view> JobPart::choices() const {
  std::vector<std::string_view> names;
  for (const JobKind& kind : known_)
    names.push_back(kind.name);
  return names;
}

std::vector<Problem> range_problems(const Recipe& r) {
  Recipe copy = r;
  RangeCheck check(r.origins);
  copy.fields(check);
  return check.take();
}

void check_common_rules(const Recipe& r, int ranks, ProblemList& out) {
  Rules(r, out).check(ranks);
}

}  // namespace gradwire
