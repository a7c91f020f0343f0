// A recipe: what one run does, as plain values. These are the sections that every job has; those of
// its own a job brings (recipe/job_sections.h). Each struct has one list of its keys, fields(v),
// which is walked to read TOML, to check ranges, to write the resolved recipe and to document it.
// How recipes are read and checked is in recipe/recipe_io.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "core/codec_names.h"

#include "recipe/job_sections.h"

namespace gradwire {

// Upper limits of keys that size something: far above what anybody has, and low enough that what is
// made of a mistyped number of digits is refused at once.
inline constexpr double kMostLayers = 8192;
inline constexpr double kMostWidth = 1 << 24;   // of the feed-forward part
inline constexpr double kMostTokens = 1 << 24;  // of a sequence
inline constexpr double kMostThreads = 4096;    // of a rank
inline constexpr double kMostSteps = 1e12;
inline constexpr double kMostSeconds = 1e7;  // four months
inline constexpr double kMostBucketBytes = 1e12;

struct BatchRecipe {
  std::int64_t global = 32;
  std::int64_t micro = 8;

  // Micro-batches that each rank adds up before an update, if validate() passed.
  std::int64_t accumulation(std::int64_t ranks) const { return global / (micro * ranks); }

  void fields(FieldVisitor& v) {
    v("global", global, "sequences in an update, over all ranks: micro x ranks x accumulation",
      at_least(1).up_to(1 << 24));
    v("micro", micro, "sequences that a rank computes at once", at_least(1).up_to(1 << 24));
  }
  bool operator==(const BatchRecipe&) const = default;
};

struct OptimRecipe {
  std::string name = "adamw";
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  StringList no_decay = {"*norm*", "*.bias"};
  double momentum = 0.9;
  bool nesterov = false;
  double clip_norm = 1.0;
  std::int64_t freeze_step = 0;
  double thaw_ratio = 2.0;
  std::int64_t local_steps = 16;
  std::int64_t local_step_scaler = 0;
  StringList uncompressed;

  bool is_adam() const { return name != "sgd"; }
  // Rules that exchange something of their own, compressed, instead of gradients.
  bool is_onebit() const {
    return name == "onebit_adam" || name == "zero_one_adam" || name == "onebit_lamb";
  }

  void fields(FieldVisitor& v) {
    v("name", name, "update rule",
      one_of({"adamw", "sgd", "onebit_adam", "zero_one_adam", "onebit_lamb"}));
    v("lr", lr, "peak learning rate", greater_than(0.0));
    v("beta1", beta1, "decay of Adam's first moment", at_least(0.0).below(1));
    v("beta2", beta2, "decay of Adam's second moment", at_least(0.0).below(1));
    v("eps", eps, "added to the root of Adam's second moment", greater_than(0.0));
    v("weight_decay", weight_decay,
      "adamw: decoupled, times the learning rate; sgd: added to the gradient", at_least(0.0));
    v("no_decay", no_decay, "patterns of parameter names without weight decay");
    v("momentum", momentum, "sgd: momentum; 0: none", at_least(0.0).below(1));
    v("nesterov", nesterov, "sgd: Nesterov's form of momentum");
    v("clip_norm", clip_norm, "largest norm of all gradients together; 0: no clipping",
      at_least(0.0));
    v("freeze_step", freeze_step,
      "dense steps before onebit_* freezes the second moment (0: until it has settled), or until "
      "zero_one_adam refreshes it for the last time (0: half of the steps)",
      at_least(0));
    v("thaw_ratio", thaw_ratio,
      "onebit_adam: dense steps again if the second moment would have moved by this factor; 0: "
      "never",
      at_least(0.0));
    v("local_steps", local_steps,
      "zero_one_adam: most steps between two exchanges, in the end; 1: exchange in every step",
      at_least(1).up_to(1024));
    v("local_step_scaler", local_step_scaler,
      "zero_one_adam: steps after which that number doubles; 0: a sixth of those that are left",
      at_least(0).up_to(kMostSteps));
    v("uncompressed", uncompressed,
      "patterns of parameter names whose gradients are never compressed");
  }
  bool operator==(const OptimRecipe&) const = default;
};

struct ScheduleRecipe {
  std::string kind = "cosine";
  std::int64_t warmup_steps = 50;
  double final_ratio = 0.1;

  void fields(FieldVisitor& v) {
    v("kind", kind, "learning rate after the warm-up",
      one_of({"constant", "linear", "cosine", "inverse_sqrt"}));
    v("warmup_steps", warmup_steps, "steps of linear warm-up", at_least(0));
    v("final_ratio", final_ratio,
      "of the peak: where linear and cosine end, and inverse_sqrt stops falling",
      at_least(0.0).up_to(1));
  }
  bool operator==(const ScheduleRecipe&) const = default;
};

struct TrainRecipe {
  std::int64_t steps = 600;
  std::int64_t eval_every = 100;
  std::int64_t eval_batches = 0;
  std::int64_t log_every = 10;
  std::int64_t max_nonfinite = 3;
  std::int64_t threads = 0;
  std::int64_t replica_check_every = 200;
  std::int64_t stall_timeout_s = 240;

  void fields(FieldVisitor& v) {
    v("steps", steps, "updates in the whole run", at_least(1).up_to(kMostSteps));
    v("eval_every", eval_every, "steps between evaluations; 0: only at the end",
      at_least(0).beside_training());
    v("eval_batches", eval_batches, "global batches in an evaluation; 0: all that is held out",
      at_least(0).beside_training());
    v("log_every", log_every, "steps between training lines", at_least(1).beside_training());
    v("max_nonfinite", max_nonfinite,
      "steps in a row with non-finite gradients, each skipped, before the run gives up (exit 5)",
      at_least(1).beside_training());
    v("replica_check_every", replica_check_every,
      "steps between comparisons of all ranks' parameters, frozen ones too (exit 5 if they "
      "differ); 0: only at the start",
      at_least(0).beside_training());
    v("stall_timeout_s", stall_timeout_s,
      "longest time without progress inside a step, before a watchdog shows what every rank is at "
      "and ends the run (exit 7); at most 4/5 of comm.timeout_s counts; 0: no watchdog",
      at_least(0).up_to(kMostSeconds).beside_training());
    v("threads", threads,
      "CPU threads of each rank; 0: OMP_NUM_THREADS, or else the rank's part of the processors "
      "that binding, control groups and other ranks of the host leave it",
      at_least(0).up_to(kMostThreads).per_rank());
  }
  bool operator==(const TrainRecipe&) const = default;
};

struct ParallelRecipe {
  std::int64_t pipeline = 1;
  std::string schedule = "1f1b";
  std::int64_t chunks = 1;
  std::string stages = "measured";
  std::string boundary = "same";
  bool recompute = false;
  std::int64_t bucket_bytes = 0;
  bool shard_optimizer = false;

  // Replicas of the model on so many ranks, if validate() passed.
  std::int64_t replicas(std::int64_t ranks) const { return ranks / pipeline; }

  void fields(FieldVisitor& v) {
    v("pipeline", pipeline, "ranks that share one replica of the model, each with stages of it",
      at_least(1).up_to(1024));
    v("schedule", schedule,
      "order of a pipeline's micro-batches: gpipe, 1f1b, interleaved, zero_bubble, or a file "
      "(docs/parallel.md)",
      nonempty().path({"job"}));
    v("chunks", chunks, "interleaved: stages of each rank", at_least(1).up_to(64));
    v("stages", stages,
      "where the model is cut: measured (equal times), even (equal numbers of units), or the units "
      "of each stage, as in \"3 3 2\": the embedding, the blocks and the head are a unit each",
      nonempty());
    v("boundary", boundary,
      "what travels between stages in training: same (activations and gradients as they are), "
      "bf16, "
      "or int8 (differences to the step before; docs/parallel.md)",
      one_of({"same", "bf16", "int8"}));
    v("recompute", recompute,
      "activation checkpointing: keep each block's input only and compute the rest again");
    v("bucket_bytes", bucket_bytes,
      "gradients are exchanged in buckets of about this size; 0: 4 MiB, or more if compressed "
      "messages between many ranks would otherwise be shorter than 4 KiB",
      at_least(0).up_to(kMostBucketBytes));
    v("shard_optimizer", shard_optimizer,
      "each rank keeps and updates its part of the optimizer's state (ZeRO stage 1)");
  }
  bool operator==(const ParallelRecipe&) const = default;
};

// How what the optimizer exchanges is compressed.
struct CompressRecipe {
  std::string method = "auto";
  std::string codec = "sign";
  double ratio = 0.01;
  std::int64_t block = 0;
  std::int64_t levels = 7;
  double eta = 0.0;
  double sgdm_beta = 0.1;
  std::int64_t rank = 4;
  std::int64_t dense_steps = 0;
  double least_gain = 0.05;

  // What "auto" stands for.
  std::string resolved_method(bool onebit) const {
    return method != "auto" ? method : onebit ? "ef" : "none";
  }

  void fields(FieldVisitor& v) {
    v("method", method,
      "none: exchange as it is; ef: error feedback (EF14); ef21, ef21_sgdm, econtrol: estimators; "
      "powersgd: matrices as products of two thin ones; plain: no feedback, for comparison; auto: "
      "ef for the 1-bit optimizers, else none",
      one_of({"auto", "none", "ef", "ef21", "ef21_sgdm", "econtrol", "powersgd", "plain"}));
    v("codec", codec, "what turns numbers into bytes; powersgd has none", one_of(kCodecNames));
    v("ratio", ratio, "topk, randk: share of the elements that is sent",
      greater_than(0.0).up_to(1));
    v("block", block, "elements that share a scale, a multiple of 64; 0: the codec's own",
      at_least(0).up_to(4096));
    v("levels", levels, "qsgd: levels of a magnitude: 1, 7 or 127", at_least(1).up_to(127));
    v("eta", eta,
      "econtrol: strength of the control; 0: the codec's contraction (topk, randk: ratio; sign: "
      "0.64)",
      at_least(0.0).up_to(1));
    v("sgdm_beta", sgdm_beta, "ef21_sgdm: weight of a new gradient in the momentum",
      greater_than(0.0).up_to(1));
    v("rank", rank, "powersgd: columns of a thin matrix", at_least(1).up_to(1024));
    v("dense_steps", dense_steps,
      "steps before gradients travel compressed (1-bit optimizers have optim.freeze_step)",
      at_least(0));
    v("least_gain", least_gain,
      "share of a step's time that compression must be predicted to save, or it stays off; 0: "
      "compress in any case",
      at_least(0.0).below(1));
  }
  bool operator==(const CompressRecipe&) const = default;
};

struct CommRecipe {
  std::string backend = "auto";
  std::string address;
  std::int64_t connections = 1;
  std::int64_t timeout_s = 300;

  void fields(FieldVisitor& v) {
    v("backend", backend, "how ranks talk; auto: mpi if mpirun or PMIx started them, else tcp",
      one_of({"auto", "mpi", "tcp"}).per_start());
    v("address", address,
      "tcp: HOST:PORT where rank 0 is met; empty: as the launcher says (docs/launch.md)",
      Limits{}.per_rank());
    v("connections", connections, "tcp: connections to each peer for data",
      at_least(1).up_to(16).per_start());
    v("timeout_s", timeout_s,
      "longest silence of a peer before it counts as lost (exit 6); a rank that works while others "
      "wait for it is not silent",
      at_least(1).up_to(kMostSeconds).per_start());
  }
  bool operator==(const CommRecipe&) const = default;
};

struct CheckpointRecipe {
  std::int64_t every = 200;
  std::int64_t keep = 3;
  std::string best;

  void fields(FieldVisitor& v) {
    v("every", every, "steps between checkpoints; 0: only at the end or on a stop signal",
      at_least(0).beside_training());
    v("keep", keep, "newest checkpoints that are kept", at_least(1).beside_training());
    v("best", best,
      "metric of the evaluation, such as \"loss\": the checkpoint that has the best so far is "
      "saved at once and kept beside the newest; empty: none",
      Limits{}.beside_training());
  }
  bool operator==(const CheckpointRecipe&) const = default;
};

struct RunRecipe {
  std::string dir = "runs/default";
  std::string device = "auto";

  void fields(FieldVisitor& v) {
    v("dir", dir, "folder of the run: resolved recipe, log, checkpoints; all ranks must see it",
      nonempty().path({"job"}).per_rank());
    v("device", device,
      "what ranks compute on: cuda (a GPU each, or shared if a host has fewer), cpu, or auto: cuda "
      "if every rank has a GPU and the recipe runs on one, else cpu (docs/gpu.md)",
      one_of({"auto", "cpu", "cuda"}).per_start());
  }
  bool operator==(const RunRecipe&) const = default;
};

struct LogRecipe {
  bool tensorboard = false;
  std::int64_t trace_every = 0;

  void fields(FieldVisitor& v) {
    v("tensorboard", tensorboard, "also write TensorBoard event files into the run's folder",
      Limits{}.per_start());
    v("trace_every", trace_every,
      "steps between those whose timeline is kept for `gradwire trace`; 0: none",
      at_least(0).per_start());
  }
  bool operator==(const LogRecipe&) const = default;
};

struct Recipe {
  std::int64_t schema = 1;
  std::string task;
  std::string precision = "f32";
  std::int64_t seed = 1;
  JobPart job;  // the sections of its task
  BatchRecipe batch;
  OptimRecipe optim;
  ScheduleRecipe schedule;
  TrainRecipe train;
  ParallelRecipe parallel;
  CompressRecipe compress;
  CommRecipe comm;
  CheckpointRecipe checkpoint;
  RunRecipe run;
  LogRecipe log;
  Origins origins;

  // The step with which a 1-bit optimizer's second moment is frozen, or at the earliest if it is
  // to settle first.
  std::int64_t freeze_step() const {
    if (optim.freeze_step > 0) return optim.freeze_step;
    if (optim.name == "zero_one_adam") return (train.steps + 1) / 2;
    const double two_windows = std::ceil(2.0 / (1.0 - optim.beta2) - 1e-6);
    return std::max(static_cast<std::int64_t>(two_windows), schedule.warmup_steps);
  }
  // Whether anything is ever exchanged compressed.
  bool compresses() const { return compress.resolved_method(optim.is_onebit()) != "none"; }

  void fields(FieldVisitor& v) {
    v("schema", schema, "version of this list of keys", exactly(1));
    v("task", task, "the job, which brings sections of its own", task_limits());
    v("precision", precision, "type of activations and matrix products", one_of({"f32", "bf16"}));
    v("seed", seed, "of initial weights, order of the data, dropout and sampling",
      at_least(0).warns("order of the data, dropout and sampling change"));
    if (job.sections() != nullptr) job.sections()->fields(v);
    v.section("batch", batch, "Accumulation is derived and shown, never given.");
    v.section("optim", optim, "The update rule.");
    v.section("schedule", schedule, "The learning rate over the steps.");
    v.section("train", train, "The training loop.");
    v.section("parallel", parallel, "How work is split over ranks.");
    v.section("compress", compress, "How what ranks agree on is compressed.");
    v.section("comm", comm, "How ranks talk.");
    v.section("checkpoint", checkpoint, "What survives a crash.");
    v.section("run", run, "Where the run lives.");
    v.section("log", log, "What is written beside the training lines.");
  }

 private:
  Limits task_limits() const {
    Limits limits = nonempty().shapes_model();
    limits.choices = job.choices();
    return limits;
  }
};

// Equal in every key, wherever they were set.
bool operator==(const Recipe& a, const Recipe& b);

}  // namespace gradwire
