#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"
#include "launch/assemble/continuation.h"
#include "launch/assemble/learner.h"
#include "launch/assemble/plan.h"
#include "launch/assemble/run_watch.h"
#include "launch/assemble/session.h"
#include "launch/assemble/stages.h"
#include "launch/assemble/tracing.h"
#include "launch/assemble/validate.h"
#include "launch/commands/commands.h"
#include "launch/measure/exchange_probe.h"
#include "launch/start/console.h"
#include "launch/start/run_folder.h"
#include "launch/start/standard_streams.h"
#include "launch/start/stop_signal.h"
#include "parallel/agreement.h"
#include "train/metrics/progress.h"
#include "train/metrics/tensorboard.h"
#include "train/run_on_all_ranks.h"
#include "train/trainer.h"

#include "recipe/paths.h"
#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

TrainOptions train_options(const Session& session) {
  const Recipe& r = session.recipe();
  TrainOptions options;
  options.steps = r.train.steps;
  options.eval_every = r.train.eval_every;
  options.eval_batches = r.train.eval_batches;
  options.max_nonfinite = r.train.max_nonfinite;
  options.replica_check_every = r.train.replica_check_every;
  options.update = update_options(r);
  options.seed = static_cast<std::uint64_t>(r.seed);
  return options;
}

void say(const Session& session, const std::string& text) {
  if (session.is_first()) console().say(text);
}

std::string console_path(const Session& session) {
  return session.run_dir() + "/console.log";
}

void add_sinks(const Session& session, Reporter& report) {
  if (!session.is_first()) return;
  const std::string dir = session.run_dir();
  const OnTrouble trouble = [](const std::string& what) { console().say("warning: " + what); };
  ProgressOptions progress;
  progress.fd = STDERR_FILENO;
  progress.style = progress_style(STDERR_FILENO);
  progress.log_every = session.recipe().train.log_every;
  report.add(make_progress_sink(progress));
  progress.style = ProgressStyle::kLines;
  progress.path = console_path(session);
  report.add(make_progress_sink(progress));
  report.add(make_json_lines_sink(dir + "/metrics.jsonl", trouble));
  if (session.recipe().log.tensorboard) {
    report.add(make_tensorboard_sink(dir + "/tensorboard", trouble));
  }
}

// What the folder of the run says of it. Only written when the start is certain: one that is
// refused leaves the folder as it was.
void describe_run(Session& session, Job& job, const Stages& stages, Reporter& report) {
  std::string message;
  run_on_all_ranks(session.ranks(), [&] {
    if (!session.is_first()) return;
    std::filesystem::create_directories(session.run_dir());
    publish_text(session.run_dir() + "/resolved.toml", to_toml(session.recipe()));
    keep_stages(session.recipe(), stages);
    message = job.keep_data(session.recipe());
  });
  if (session.is_first()) console().keep_in(console_path(session));
  add_sinks(session, report);
  if (!message.empty()) report.note(message);
}

void say_where_it_goes_on(const Session& session, const LoadResult& loaded, Reporter& report) {
  for (const std::string& w : loaded.warnings)
    report.warning("passed over " + w);
  say(session, fmt::format("resuming from {} at step {}", loaded.path, loaded.step));
  if (loaded.saved_ranks != session.env().size) {
    say(session, fmt::format("it was saved by {} ranks, this run has {}", loaded.saved_ranks,
                             session.env().size));
  }
  for (const std::string& note : continuation_notes(session.recipe(), loaded))
    report.note(note);
}

// Loads where the run goes on from, and opens its folder and its log, in this order.
void begin(Session& session, Checkpointing& checkpoints, Job& job, const Stages& stages,
           Reporter& report, const std::string& from) {
  const std::optional<LoadResult> loaded = checkpoints.resume(session.cx(), from);
  if (loaded) check_continuation(session.recipe(), *loaded);
  const std::string aside = checkpoints.begin();
  describe_run(session, job, stages, report);
  if (loaded) say_where_it_goes_on(session, *loaded, report);
  if (!loaded) say(session, "starting at step 0");
  if (!aside.empty())
    report.note(fmt::format("other checkpoints of this run are now in {}", aside));
}

// The checkpoints that training may go on from; none if it starts over and for a new run. On rank
// 0.
std::vector<std::string> checkpoints_to_go_on_from(Session& session, const std::string& resume) {
  std::vector<std::string> found;
  run_on_all_ranks(session.ranks(), [&] {
    if (!session.is_first() || resume == "none") return;
    found = paths_of(list_checkpoints(session.checkpoint_dir()));
    if (names_best(resume)) {
      const auto best = best_named(resume, session.checkpoint_dir());
      if (best) found.insert(found.begin(), *best);
    } else if (resume != "auto") {
      found.insert(found.begin(), resume);
    }
  });
  return found;
}

// What the run came to, and what the model does now, unless a stop is asked for. Collective.
void show_result(Session& session, Job& job, Task& task, const Stages& stages,
                 std::span<const Sum> found, const StopSignal& stop) {
  JobHost host = session.host();
  const auto show = [](const std::string& text) { show_line(text); };
  job.show_result(host, found, show);
  const double asked = stop.requested() ? 1.0 : 0.0;
  if (max_over_ranks(session.cx(), session.comm(), asked) > 0.0)
    return say(session, "stopped on request: no samples are shown");
  job.show_samples(host, task, {session.mesh(), stages}, show);
}

std::vector<StepObserver*> observers(std::initializer_list<StepObserver*> all) {
  std::vector<StepObserver*> there;
  std::ranges::copy_if(all, std::back_inserter(there),
                       [](StepObserver* o) { return o != nullptr; });
  return there;
}

CheckpointPolicy checkpoint_policy(const Session& session, const Job& job,
                                   const ModelOutline& model, const Stages& stages,
                                   const Task& task) {
  const Recipe& r = session.recipe();
  CheckpointPolicy policy;
  policy.dir = session.checkpoint_dir();
  policy.every = r.checkpoint.every;
  policy.keep = r.checkpoint.keep;
  if (!r.checkpoint.best.empty()) {
    policy.best = metric_named(task.metrics(), r.checkpoint.best);
  }
  policy.run = {job.model_identity(), to_toml(r), layout_text(r, model, stages)};
  policy.last_step = r.train.steps;
  policy.course = course_of(r, job.data_identity());
  policy.objection = [&r](const std::string& saved) { return model_objection(r, saved); };
  return policy;
}

ExitCode stopped_early(Session& session) {
  say(session, "stopped on request before the first step; the same command begins again");
  session.comm().barrier();
  return ExitCode::kStopped;
}

ExitCode train(Session& session, const TrainArgs& args, const StopSignal& stop) {
  const auto stop_requested = [&stop] { return stop.requested(); };
  const auto say_first = [&session](const std::string& line) { say(session, line); };
  RunFolder folder(session.ranks(), session.run_dir(), say_first);
  if (!folder.take(stop_requested)) return stopped_early(session);
  const Recipe& recipe = session.recipe();
  const std::unique_ptr<Job> job = job_of(recipe).make(recipe);
  JobHost host = session.host();
  const std::vector<std::string> earlier = checkpoints_to_go_on_from(session, args.resume);
  if (!job->prepare(host, {Content::kTraining, earlier, say_first, stop_requested}))
    return stopped_early(session);
  const ModelOutline model = job->outline();
  const Stages stages = plan_stages(session.cx(), session.comm(), recipe, *job);
  std::unique_ptr<Task> task;
  run_on_all_ranks(session.ranks(), [&] {
    task = job->build(session.cx(), {session.mesh(), stages}, Content::kTraining);
  });
  say(session,
      fmt::format("ranks           {}; {}", session.comm().describe(), session.threads_text()));
  const MeshShape& shape = session.mesh().shape;
  say(session, to_text(make_plan(recipe, model, shape), recipe, model, shape));
  say(session, placement_text(session.ranks(), session.mesh(), stages, session.device()));

  Learner learner(session.cx(), session.mesh(), recipe, task->trained(), frozen_in(*task),
                  model.tied, task->conditional());
  Communicator& replica = *session.mesh().pipeline;
  Pipeline pipeline(replica, stages.schedule,
                    make_transport(session.cx(), replica, recipe, model, stages.schedule));
  Checkpointing checkpoints(session.ranks(),
                            checkpoint_policy(session, *job, model, stages, *task));
  Reporter report;
  std::optional<CompressionSwitch> compression;
  if (recipe.compresses()) {
    compression.emplace(session.comm(), recipe.compress.least_gain, [&](Context& cx) {
      return probe_exchange(cx, session.comm(), recipe, learner.ranks());
    });
  }
  CompressionSwitch* const compressing = compression ? &*compression : nullptr;
  RunWatch watch(session);
  const std::unique_ptr<StepObserver> tracer = make_tracer(session, stages.schedule);
  Trainer trainer(train_options(session),
                  {session.comm(), pipeline, *task, learner.optimizer(), learner.ranks(),
                   checkpoints, report, schedule_config(recipe), stop_requested, compressing,
                   observers({watch.steps(), tracer.get()})});
  std::vector<Stateful*> state{&learner.optimizer(), &learner.ranks(), task.get(), &pipeline,
                               &trainer};
  if (compressing) state.push_back(compressing);
  checkpoints.track(
      {task->saved(), std::move(state), digests_of(session.cx(), known_by_digest_in(*task))});
  begin(session, checkpoints, *job, stages, report, args.resume);
  const bool done = trainer.step() >= recipe.train.steps;
  if (!done) check_room(session.ranks(), session.checkpoint_dir(), checkpoints.bytes_of_rank());
  if (done) {
    say(session,
        fmt::format("finished: {} of {} steps are done", trainer.step(), recipe.train.steps));
  } else if (trainer.run(session.cx()) == Outcome::kStopped) {
    say(session,
        fmt::format("stopped on request after step {}; the same command goes on", trainer.step()));
    session.comm().barrier();
    return ExitCode::kStopped;
  }
  show_result(session, *job, *task, stages, trainer.evaluation(session.cx()), stop);
  session.comm().barrier();
  return ExitCode::kDone;
}

}  // namespace

ExitCode run_train(const TrainArgs& args) {
  const RankEnvironment env = read_rank_environment();
  const StopSignal stop(rank_prefix(env));  // a signal may come while ranks are still starting
  Recipe recipe = load_recipe(args.recipe);
  const int ranks = args.ranks > 0 ? args.ranks : env.size;
  validate(recipe, ranks);
  const MeshShape shape = mesh_shape(recipe, ranks);
  const ModelOutline model = job_of(recipe).outline(recipe);
  const Plan plan = make_plan(recipe, model, shape);
  if (args.dry_run) {
    if (env.rank == 0) {
      const Device device = device_of_rank(recipe, env, gpu_count());
      console().say("device          " + describe(device));
      console().say(to_text(plan, recipe, model, shape));
    }
    return ExitCode::kDone;
  }
  // Before ranks meet, like all that is wrong with a recipe: each ends by itself, and none is lost.
  check_run_folder(recipe);
  check_fits(plan, room_of_rank(recipe, env));
  try {
    Session session(std::move(recipe), fmt::format("train --resume {}", args.resume),
                    [&stop] { return stop.requested(); });
    return train(session, args, stop);
  } catch (const MeetingStopped&) {
    if (env.rank == 0) console().say(kStoppedWhileMeeting);
    return ExitCode::kStopped;
  }
}

}  // namespace gradwire
