// The seam between the program and what it trains. launch/ reads a recipe, joins the ranks, cuts
// the model into stages, builds optimizer, exchange, checkpoints and the training loop; a job
// brings its sections of the recipe, its data, its model and its task. To add one: a folder under
// jobs/ with a JobRecipe and a Job, and one line in jobs/job_list.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/context.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/stages.h"
#include "train/coordinator.h"
#include "train/measure.h"
#include "train/task.h"

#include "recipe/recipe.h"

namespace gradwire {

// One layer of a model, as stages are cut from it.
struct LayerOutline {
  std::int64_t parameters = 0;  // elements
  UnitCost memory{};            // estimated, for one micro-batch; without seconds
  std::int64_t frozen = 0;      // of the parameters, elements that are not trained
};

// A model before it is made: enough to cut it into stages and to say what a step will cost.
struct ModelOutline {
  std::vector<LayerOutline> layers;
  // The parameter that the first and the last layer share, counted in both; empty if there is none.
  std::string tied{};
  std::int64_t tied_elements = 0;
  bool tied_is_frozen = false;
  // What one layer hands to the next for the largest micro-batch.
  Shape boundary{};
  DType boundary_type = DType::kF32;
  // What speed is measured in ("tokens"), and how much of it a sequence has.
  std::string counts{};
  std::int64_t count_per_sequence = 0;
  // Floating-point operations of a training step for one sequence, in matrix products.
  double flops_per_sequence = 0.0;

  int size() const { return static_cast<int>(layers.size()); }
  // Elements of the parameters that these layers have, a shared one counted once.
  std::int64_t parameters(UnitRange of) const;
  std::int64_t parameters() const { return parameters({0, size()}); }
  // Of those, the trained ones.
  std::int64_t trained(UnitRange of) const;
  std::int64_t trained() const { return trained({0, size()}); }
};

// What a task is built over.
enum class Content : std::uint8_t {
  kTraining,    // the data to train on and what is held out
  kEvaluation,  // what is held out, for a model that has been trained
  kModel,       // no data: the model alone
  kRandom,      // random micro-batches of the recipe's shape, to time a step with
};

// What the program lends to a job. All of it outlives the job.
struct JobHost {
  Context& cx;
  Communicator& world;
  Coordinator& ranks;
  const Mesh& mesh;
  int local_rank = 0;  // among the ranks of this host

  bool is_first() const { return ranks.rank() == 0; }
};

struct Preparation {
  Content content = Content::kTraining;
  // Checkpoints that the run goes on from or looks at, the first that can be used counts. Rank 0's.
  std::vector<std::string> checkpoints{};
  std::function<void(const std::string&)> say{};  // called on rank 0; may be empty
  std::function<bool()> stop_requested{};         // may be empty
};

// The part of the model that this rank has.
struct Position {
  const Mesh& mesh;
  const Stages& stages;
  std::vector<UnitRange> here() const { return stages.of_rank(mesh.here.pipeline); }
};

// What `gradwire export` asks for.
struct ExportRequest {
  std::string format;  // "hf", "gguf", "peft" or "gguf-lora"
  std::string type;    // of the elements: "f32", "f16", "bf16", "q8_0", "q4_0"
  std::string folder;
  bool verify = false;       // compare what is there with the model, and write nothing
  std::string checkpoint{};  // that the model was loaded from, or the first of several
  std::string from{};        // "step 20", "the mean of 2 checkpoints (steps 10, 20)"
  std::string evaluation{};  // what evaluating it gave; empty if it was not evaluated
};

class Job {
 public:
  virtual ~Job() = default;

  // Makes ready what tasks of this content need, once on every host, and sees to it that all ranks
  // have the same. False if a stop was requested on any rank before that. Collective. Errors:
  // kData, kIo; DifferentRuns (train/same_run.h).
  virtual bool prepare(JobHost& /*host*/, const Preparation& /*how*/) { return true; }
  // A line about the data that was prepared for training.
  virtual std::string data_summary() const { return "nothing to prepare"; }

  // Exact once prepared; before, as the recipe says.
  virtual ModelOutline outline() const = 0;
  // What each layer costs for one micro-batch, measured on this device. Unless a job measures, its
  // outline with times in proportion to the parameters.
  virtual std::vector<UnitCost> measure(Context& cx);
  // This rank's stages of the model and its share of the data. Initial weights depend on the
  // recipe's seed alone. The task must not outlive this job.
  virtual std::unique_ptr<Task> build(Context& cx, const Position& position, Content content) = 0;

  // What a checkpoint of this model must have in common with the run that loads it.
  virtual std::string model_identity() const = 0;
  // Whether build() gives the model weights that another program has trained, so that it is of use
  // without a checkpoint.
  virtual bool has_pretrained_weights() const { return false; }
  // What it learns from. Other data make another run.
  virtual std::string data_identity() const { return ""; }
  // Keeps in the folder of a run what a trained model needs of its data. Gives what a run that goes
  // on should be told, or nothing. On rank 0. Errors: kIo.
  virtual std::string keep_data(const Recipe& /*recipe*/) { return ""; }

  // Says what training came to, after an evaluation that gave `found`, which may be nothing. `show`
  // writes to the user on rank 0. Collective.
  virtual void show_result(JobHost& /*host*/, std::span<const Sum> /*found*/,
                           const std::function<void(const std::string&)>& /*show*/) {}
  // Shows what the trained model does, such as texts that it writes. May take a while. Collective.
  virtual void show_samples(JobHost& /*host*/, Task& /*task*/, const Position& /*position*/,
                            const std::function<void(const std::string&)>& /*show*/) {}
  // Carries out one of JobRecipe::verbs() with a trained model; prints on rank 0. Collective over
  // the ranks of each replica.
  virtual void carry_out(std::string_view verb, JobHost& host, Task& task,
                         const Position& position);
  // Writes a trained model, which one rank has whole, in a format that other programs read, or
  // compares one that was written. Gives a line about it. May change the task's model. Errors:
  // kUsage if the job has no such export, and kConfig for a model that the format cannot express,
  // named; kData for what cannot be written as this type, or what verifying finds; kIo.
  virtual std::string export_model(JobHost& host, Task& task, const ExportRequest& request);
};

// An option of a verb: a key of the recipe under another name, checked as that key is.
struct VerbOption {
  const char* flag;  // "--tokens"
  const char* key;   // "generate.tokens"
  const char* doc;
  bool repeated = false;  // a list, of which each use gives one element
};

// A command of a job beside training and evaluation: what its trained models are for.
struct Verb {
  const char* name;  // "generate"
  const char* doc;
  std::span<const VerbOption> options;
  // Errors: kUsage if the recipe does not say enough.
  void (*check)(const Recipe& recipe);
};

class JobRecipe : public JobSections {
 public:
  // Into so many units the model can be cut at most.
  virtual int units(const Recipe& recipe) const = 0;
  // Of a recipe whose values passed check().
  virtual ModelOutline outline(const Recipe& recipe) const = 0;
  virtual std::span<const Verb> verbs() const { return {}; }
  // Throws RecipeError if the recipe leaves nothing to evaluate on.
  virtual void check_evaluation(const Recipe& /*recipe*/) const {}
  virtual std::unique_ptr<Job> make(const Recipe& recipe) const = 0;
};

// That of a recipe that was read or made with the jobs of this program.
const JobRecipe& job_of(const Recipe& recipe);

}  // namespace gradwire
