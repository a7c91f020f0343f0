// Sets of parameters that a step does not touch: as if they were not there, in values, state and
// bytes, whatever the exchange and the rule.
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/plan.h"
#include "comm/reducer/compressed_reducer.h"
#include "comm/reducer/power_sgd.h"
#include "core/error.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "optim/sgd.h"
#include "parallel/sharded/sharded_optimizer.h"
#include "tests/support/expect_error.h"
#include "train/checkpoint/state.h"
#include "train/update.h"

namespace gradwire {
namespace {

constexpr int kRanks = 2;
constexpr std::int64_t kSizes[] = {130, 37, 70};  // of each set's parameters
using Values = std::map<std::string, std::vector<float>>;

// Which sets a rank has gradients for in a step, as letters: "a" is always trained, "b" and "c" are
// conditional.
using Touches = std::function<std::string(int rank, int step)>;

struct Kind {
  const char* name;
  const char* rule = "adamw";
  const char* method = "";  // of compressed gradients
  bool sharded = false;
};

struct Trained {
  Values params, state;
  std::vector<double> norms;
  std::vector<std::int64_t> bytes;  // of gradients, sent by rank 0, by step
};

class Rank {
 public:
  // `sets`: those that exist, of which all but 'a' are conditional.
  Rank(Context& cx, Communicator& comm, const Kind& kind, const std::string& sets)
      : cx_(cx), comm_(comm) {
    for (const char set : sets)
      add_set(set);
    DataParallelOptions options{.bucket_bytes = 600, .conditional = conditional_};
    if (is_onebit(kind)) options.uncompressed = names_;
    ranks_.emplace(cx, comm, kind.sharded ? make_scatter_reducer(comm) : make_dense_reducer(comm),
                   list(), options);
    if (kind.sharded) shard_.emplace(cx, comm, ranks_->buckets().all());
    compress(kind);
    make_rule(kind);
    const std::int64_t dense_steps = *kind.method == '\0' ? -1 : 1;
    update_.emplace(UpdateOptions{.clip_norm = 0.5, .dense_steps = dense_steps}, *rule_, *ranks_);
  }

  double step(int number, const std::string& touched) {
    update_->begin(number, false);
    for (const auto& p : params_)
      clear_grad(*p);
    for (const auto& p : params_) {
      if (touched.find(p->name[0]) == std::string::npos) continue;
      Tensor g = Tensor::empty(cx_, p->value.shape(), DType::kF32);
      const auto seed = static_cast<std::uint64_t>(number * 8 + comm_.rank());
      fill_normal(cx_, g, Rng{derive_seed(seed, p->name), 0}, 0.1);
      accumulate_grad(cx_, *p, g);
    }
    update_->finish_gradients(cx_);
    const double norm = update_->norm(cx_);
    update_->apply(cx_, 0.01);
    ranks_->check_replicas(cx_, number);
    return norm;
  }

  Values values() const {
    Values all;
    for (const auto& p : params_)
      all[p->name] = p->value.to_host<float>(cx_);
    return all;
  }
  // Everything that lasts and is named after a parameter.
  Values state() {
    Values all;
    for (const StatePiece& piece : pieces_of({{}, {rule_.get(), &*ranks_}})) {
      if (piece.kind != StateKind::kTensor || piece.dtype != DType::kF32) continue;
      all[piece.name] = piece.tensor.to_host<float>(cx_);
    }
    return all;
  }
  std::vector<Parameter*> list() const {
    std::vector<Parameter*> all;
    for (const auto& p : params_)
      all.push_back(p.get());
    return all;
  }
  DataParallel& ranks() { return *ranks_; }

 private:
  static bool is_onebit(const Kind& kind) { return kind.rule == std::string("onebit_adam"); }
  void add_set(char set) {
    if (set != 'a') conditional_.emplace_back();
    for (std::size_t i = 0; i < std::size(kSizes); ++i) {
      Parameter& p = *params_.emplace_back(std::make_unique<Parameter>());
      init_normal_named(p, std::string(1, set) + "." + std::to_string(i), kSizes[i]);
      if (set == 'a') continue;
      conditional_.back().push_back(&p);
      names_.push_back(p.name);
    }
  }
  void init_normal_named(Parameter& p, const std::string& name, std::int64_t n) {
    p.name = name;
    p.value = Tensor::empty(cx_, {n}, DType::kF32);
    fill_normal(cx_, p.value, Rng{derive_seed(std::uint64_t{3}, name), 0}, 1.0);
  }
  void compress(const Kind& kind) {
    std::string method = kind.method;
    if (is_onebit(kind)) method = "ef";
    if (method.empty()) return;
    const auto layout = ranks_->buckets().all();
    if (method == "powersgd") {
      return ranks_->compress_with(make_power_sgd_reducer(cx_, comm_, layout, {}));
    }
    CompressionConfig config;
    config.method = feedback_named(method);
    config.codec = {.name = method == "ef" ? "sign" : "topk", .ratio = 0.2};
    ranks_->compress_with(make_compressed_reducer(cx_, comm_, layout, config));
  }
  void make_rule(const Kind& kind) {
    const AdamWConfig adam{.weight_decay = 0.1, .conditional = names_};
    const auto elementwise = [&](std::span<Parameter* const> params) {
      if (kind.rule == std::string("sgd")) {
        return make_sgd(cx_, params, {.momentum = 0.9, .weight_decay = 0.1, .conditional = names_});
      }
      return make_adamw(cx_, params, adam);
    };
    if (is_onebit(kind)) {
      OnebitAdamConfig config;
      config.adam = adam;
      config.freeze.freeze_step = 3;
      config.dense = names_;
      rule_ = make_onebit_adam(cx_, ranks_->buckets().all(), config);
    } else if (kind.sharded) {
      rule_ = make_sharded(*shard_, elementwise);
    } else {
      rule_ = elementwise(list());
    }
  }

  Context& cx_;
  Communicator& comm_;
  std::vector<std::unique_ptr<Parameter>> params_;
  std::vector<ParameterSet> conditional_;
  std::vector<std::string> names_;
  std::optional<DataParallel> ranks_;
  std::optional<Shard> shard_;
  std::unique_ptr<Optimizer> rule_;
  std::optional<Update> update_;
};

Trained train(const Kind& kind, const std::string& sets, const Touches& touches,
              const std::vector<int>& steps) {
  Trained all;
  std::mutex lock;
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Rank rank(cx, comm, kind, sets);
    std::vector<double> norms;
    std::vector<std::int64_t> bytes;
    for (const int step : steps) {
      const std::int64_t before = comm.ledger().total(Traffic::kGradient).sent_bytes;
      norms.push_back(rank.step(step, touches(comm.rank(), step)));
      bytes.push_back(comm.ledger().total(Traffic::kGradient).sent_bytes - before);
    }
    const std::scoped_lock guard(lock);
    if (comm.rank() == 0) all = {rank.values(), rank.state(), norms, bytes};
  });
  return all;
}

std::vector<int> steps_to(int n) {
  std::vector<int> steps;
  for (int s = 1; s <= n; ++s)
    steps.push_back(s);
  return steps;
}

// What belongs to a set, of values or state.
Values of_set(const Values& all, const std::string& set) {
  Values some;
  for (const auto& [name, values] : all)
    if (name.starts_with(set + ".") || name.find("/" + set + ".") != std::string::npos)
      some[name] = values;
  return some;
}

class Conditional : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(
    Kinds, Conditional,
    testing::Values(Kind{"adamw"}, Kind{"sgd", "sgd"}, Kind{"sharded_adamw", "adamw", "", true},
                    Kind{"sharded_sgd", "sgd", "", true}, Kind{"ef", "adamw", "ef"},
                    Kind{"ef21", "sgd", "ef21"}, Kind{"econtrol", "adamw", "econtrol"},
                    Kind{"powersgd", "adamw", "powersgd"}, Kind{"onebit_adam", "onebit_adam"}),
    [](const auto& p) { return std::string(p.param.name); });

// Half of the parameters are never touched: the others are trained as if alone, for a byte more.
TEST_P(Conditional, NeverTouchedIsAsIfNotThere) {
  const auto only_a = [](int, int) { return "a"; };
  const Trained got = train(GetParam(), "abc", only_a, steps_to(6));
  const Trained alone = train(GetParam(), "a", only_a, steps_to(6));
  EXPECT_EQ(of_set(got.params, "a"), alone.params);
  EXPECT_EQ(of_set(got.state, "a"), of_set(alone.state, "a"));
  EXPECT_EQ(got.norms, alone.norms);
  for (std::size_t s = 0; s < got.bytes.size(); ++s)
    EXPECT_EQ(got.bytes[s] - alone.bytes[s], 1) << s;  // a bit for each set
  const Trained untouched = train(GetParam(), "abc", only_a, {});
  for (const char* set : {"b", "c"}) {
    EXPECT_EQ(of_set(got.params, set), of_set(untouched.params, set));
    EXPECT_EQ(of_set(got.state, set), of_set(untouched.state, set));
  }
}

// One rank alone touches a set, now and then: all ranks update it, in these steps only, as if the
// steps between had not been.
TEST_P(Conditional, StepsBetweenTouchesLeaveNoTrace) {
  const auto sometimes = [](int rank, int step) -> std::string {
    return rank == 1 && step % 3 == 0 ? "ab" : "a";
  };
  const auto b_alone = [](int rank, int step) -> std::string {
    return rank == 1 && step % 3 == 0 ? "b" : "";
  };
  const Kind plain{GetParam().name, GetParam().rule, "", GetParam().sharded};
  const Trained got = train(plain, "b", b_alone, steps_to(9));
  const Trained dense = train(plain, "b", b_alone, {3, 6, 9});
  EXPECT_EQ(got.params, dense.params);
  EXPECT_EQ(of_set(got.state, "b"), of_set(dense.state, "b"));
  const Trained both = train(GetParam(), "ab", sometimes, steps_to(9));
  const Trained before = train(GetParam(), "ab", sometimes, {});
  EXPECT_NE(of_set(both.params, "b"), of_set(before.params, "b"));
  // Gradients here do not depend on values: what is left over of an earlier one would be seen.
  const Trained a = train(GetParam(), "a", sometimes, steps_to(9));
  for (std::size_t s = 0; s < a.norms.size(); ++s)
    EXPECT_EQ(both.norms[s] == a.norms[s], (s + 1) % 3 != 0) << s;
}

// Bytes, exactly, of gradients as they are.
TEST(ConditionalBytes, OnlyWhatWasTouchedIsSent) {
  const auto touches = [](int rank, int step) -> std::string {
    return step == 1 ? "a" : step == 2 && rank == 1 ? "ac" : step == 3 ? "abc" : "a";
  };
  const Trained got = train({"adamw"}, "abc", touches, steps_to(4));
  std::int64_t set = 0;  // places of a set's parameters, which are cut for two ranks
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Rank rank(runtime.context(), comm, {"adamw"}, "b");
    std::int64_t n = 0;
    for (const FlatBucket& b : rank.ranks().buckets().all())
      n += all_reduce_bytes(b.numel(), kRanks);
    if (comm.rank() == 0) set = n;
  });
  EXPECT_EQ(got.bytes, (std::vector<std::int64_t>{set + 1, 2 * set + 1, 3 * set + 1, set + 1}));
}

TEST(ConditionalBuckets, SetsHaveTheirOwnBehindAllOthers) {
  Runtime runtime;
  const auto comm = make_local_world(1);
  Rank rank(runtime.context(), *comm[0], {"adamw"}, "bca");
  const GradBuckets& buckets = rank.ranks().buckets();
  std::string order;
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const char set = buckets[b].params.front()->name[0];
    if (order.empty() || order.back() != set) order += set;
    for (const Parameter* p : buckets[b].params)
      EXPECT_EQ(p->name[0], set);
    EXPECT_EQ(buckets.set_of(b),
              set == 'a' ? GradBuckets::kNoSet : static_cast<std::size_t>(set - 'b'));
  }
  EXPECT_EQ(order, "abc");
}

TEST(ConditionalBuckets, AParameterIsInOneSetAtMost) {
  Runtime runtime;
  Context& cx = runtime.context();
  Parameter p;
  p.name = "p";
  p.value = Tensor::zeros(cx, {4}, DType::kF32);
  const std::vector<Parameter*> params{&p};
  const std::vector<ParameterSet> twice{{&p}, {&p}};
  test::expect_error(ErrorKind::kUsage, "'p' cannot be in this conditional set",
                     [&] { GradBuckets(cx, params, 64, {}, 1, "", twice); });
  test::expect_error(ErrorKind::kUsage, "'p' cannot be in this conditional set", [&] {
    GradBuckets(cx, params, 64, {}, 1, "p", {twice.data(), 1});
  });
}

TEST(ConditionalOnebit, CompressedMomentaCannotBeLeftOut) {
  Runtime runtime;
  Context& cx = runtime.context();
  Parameter p;
  p.name = "p";
  p.value = Tensor::zeros(cx, {4}, DType::kF32);
  const std::vector<Parameter*> params{&p};
  const GradBuckets buckets(cx, params, 64);
  OnebitAdamConfig config;
  config.adam.conditional = {"p"};
  test::expect_error(ErrorKind::kUsage,
                     "'p' may be left out of a step, and so cannot be compressed",
                     [&] { make_onebit_adam(cx, buckets.all(), config); });
}

}  // namespace
}  // namespace gradwire
