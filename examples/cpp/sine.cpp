// A job of one's own: a small network learns the sine, with every optimizer, compressed exchange
// and pipeline that a recipe can ask for. sine launch -n 4 -- train sine.toml
#include <cmath>

#include <gradwire/core/ops/elementwise/elementwise.h>
#include <gradwire/core/ops/linear/linear.h>
#include <gradwire/core/ops/reduce/reduce.h>
#include <gradwire/jobs/job.h>
#include <gradwire/launch/program.h>
#include <gradwire/models/module.h>
#include <gradwire/train/evaluation.h>

using namespace gradwire;

// [sine] of the recipe.
struct SineKeys {
  std::int64_t width = 32;
  std::int64_t layers = 3;
  void fields(FieldVisitor& v) {
    v("width", width, "hidden units", at_least(1).up_to(4096).shapes_model());
    v("layers", layers, "layers, all told", at_least(2).up_to(64).shapes_model());
  }
};

// The layers of this rank: x [B, 1] -> width -> ... -> y [B, 1], with tanh between them.
struct Network final : Module {
  Network(Context& cx, const SineKeys& keys, const std::vector<UnitRange>& here)
      : weights(static_cast<std::size_t>(keys.layers)) {
    for (const UnitRange& range : here)
      for (int i = range.begin; i < range.end; ++i) {
        const Shape shape{i + 1 == keys.layers ? 1 : keys.width, i == 0 ? 1 : keys.width};
        init_normal(cx, weights.at(static_cast<std::size_t>(i)), "layer" + std::to_string(i), shape,
                    std::pow(static_cast<double>(shape[1]), -0.5));
      }
  }
  void visit_params(const Visitor& f) override {
    for (Parameter& w : weights)
      if (w.value) f(w);
  }
  std::vector<Parameter> weights;  // without a value: of other ranks
};

class SineTask final : public Task, public StageModel {
 public:
  SineTask(Context& cx, const SineKeys& keys, const Recipe& recipe, const Position& position)
      : keys_(keys),
        batch_(recipe.batch.micro),
        cut_(position.stages.cut),
        replica_(position.mesh.here.data),
        network_(cx, keys, position.here()) {}

  ParameterSet parameters() override { return parameters_of(network_); }
  StageModel& next_step() override {
    first_ = ++steps_;
    return *this;
  }
  Counters counters() const override {
    return {{"samples", "sample", static_cast<double>(batch_)}};
  }
  std::vector<Metric> metrics() const override { return {{.name = "loss", .decimals = 6}}; }
  std::vector<Sum> evaluate(Context& cx, Pipeline& pipeline, Communicator& world,
                            std::int64_t) override {
    return evaluate_losses(cx, pipeline, world, "loss", 4,
                           [this](std::int64_t first) -> StageModel& {
                             first_ = -1 - first;  // numbers that no training step has
                             return *this;
                           });
  }
  void visit_state(StateVisitor& v) override { v.number("sine.steps", steps_); }

  std::vector<Var> forward(Context& cx, Tape& tape, int stage, int micro,
                           std::span<const Var> in) override {
    const Tensor x = points(cx, micro);
    Var h = in.empty() ? tape.constant(x) : in.front();
    const UnitRange layers = cut_[static_cast<std::size_t>(stage)];
    for (int i = layers.begin; i < layers.end; ++i) {
      h = linear(cx, tape, h, tape.param(network_.weights[static_cast<std::size_t>(i)]));
      if (i + 1 < keys_.layers) h = unary(cx, tape, Unary::kTanh, h);
    }
    if (layers.end < keys_.layers) return {h};
    std::vector<float> wanted = x.to_host<float>(cx);
    for (float& value : wanted)
      value = -std::sin(value);
    const Var error = add(cx, tape, h, tape.constant(Tensor::from(cx, x.shape(), wanted)));
    return {mean(cx, tape, unary(cx, tape, Unary::kSquare, error))};
  }
  std::vector<TensorSpec> activations(int, int) const override { return {{{batch_, keys_.width}}}; }
  double weight(int) const override { return static_cast<double>(batch_); }

 private:
  // Uniform in [-3, 3], the same on all stages of a replica.
  Tensor points(Context& cx, int micro) const {
    Tensor x = Tensor::empty(cx, {batch_, 1}, DType::kF32);
    const auto seed =
        derive_seed(static_cast<std::uint64_t>(first_), static_cast<std::uint64_t>(micro));
    fill_uniform(cx, x, Rng{derive_seed(seed, static_cast<std::uint64_t>(replica_)), 0}, -3.0, 3.0);
    return x;
  }

  SineKeys keys_;
  std::int64_t batch_, steps_ = 0, first_ = 0;
  std::vector<UnitRange> cut_;
  int replica_;
  Network network_;
};

struct SineRecipe final : JobRecipe {
  SineKeys sine;
  void fields(FieldVisitor& v) override { v.section("sine", sine, "The network."); }
  std::unique_ptr<JobSections> clone() const override {
    return std::make_unique<SineRecipe>(*this);
  }
  int units(const Recipe&) const override { return static_cast<int>(sine.layers); }
  ModelOutline outline(const Recipe& recipe) const override {
    ModelOutline outline;
    const std::int64_t bytes = 4 * recipe.batch.micro * sine.width;
    outline.layers.assign(static_cast<std::size_t>(sine.layers),
                          {sine.width * sine.width, {.bytes = 2 * bytes, .result_bytes = bytes}});
    outline.layers.front().parameters = outline.layers.back().parameters = sine.width;
    outline.boundary = {recipe.batch.micro, sine.width};
    outline.counts = "samples";
    outline.count_per_sequence = 1;
    return outline;
  }
  std::unique_ptr<Job> make(const Recipe& recipe) const override;
};

struct SineJob final : Job {
  explicit SineJob(const Recipe& of) : recipe(of) {}
  ModelOutline outline() const override { return job_of(recipe).outline(recipe); }
  std::unique_ptr<Task> build(Context& cx, const Position& position, Content) override {
    cx.rng = Rng{static_cast<std::uint64_t>(recipe.seed), 0};
    return std::make_unique<SineTask>(cx, dynamic_cast<const SineRecipe&>(job_of(recipe)).sine,
                                      recipe, position);
  }
  std::string model_identity() const override { return "sine"; }
  Recipe recipe;
};

std::unique_ptr<Job> SineRecipe::make(const Recipe& recipe) const {
  return std::make_unique<SineJob>(recipe);
}

int main(int argc, char** argv) {
  const JobKind jobs[] = {{"sine", "Learns the sine.", []() -> std::unique_ptr<JobSections> {
                             return std::make_unique<SineRecipe>();
                           }}};
  return run_program(argc, argv, jobs);
}
