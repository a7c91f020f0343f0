#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/host_limits.h"
#include "data/publish.h"
#include "data/unigram.h"
#include "launch/commands.h"
#include "launch/console.h"
#include "launch/continuation.h"
#include "launch/exchange_probe.h"
#include "launch/language_model.h"
#include "launch/learner.h"
#include "launch/plan.h"
#include "launch/recipe_io.h"
#include "launch/recipe_paths.h"
#include "launch/run_data.h"
#include "launch/run_folder.h"
#include "launch/run_watch.h"
#include "launch/samples.h"
#include "launch/session.h"
#include "launch/standard_streams.h"
#include "launch/stop_signal.h"
#include "launch/tracing.h"
#include "parallel/agreement.h"
#include "train/progress.h"
#include "train/tensorboard.h"
#include "train/together.h"
#include "train/trainer.h"

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
void describe_run(Session& session, const TokenData& data, const Stages& stages, Reporter& report) {
  std::string news;
  together(session.ranks(), [&] {
    if (!session.is_first()) return;
    std::filesystem::create_directories(session.run_dir());
    publish_text(session.run_dir() + "/resolved.toml", to_toml(session.recipe()));
    keep_stages(session.recipe(), stages);
    news = keep_data(session.recipe(), data);
  });
  if (session.is_first()) console().keep_in(console_path(session));
  add_sinks(session, report);
  if (!news.empty()) report.note(news);
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
void begin(Session& session, Checkpointing& checkpoints, const TokenData& data,
           const Stages& stages, Reporter& report, const std::string& from) {
  const std::optional<LoadResult> loaded = checkpoints.resume(session.cx(), from);
  if (loaded) check_continuation(session.recipe(), *loaded);
  const std::string aside = checkpoints.begin();
  describe_run(session, data, stages, report);
  if (loaded) say_where_it_goes_on(session, *loaded, report);
  if (!loaded) say(session, "starting at step 0");
  if (!aside.empty())
    report.note(fmt::format("other checkpoints of this run are now in {}", aside));
}

// That of the checkpoints; empty where training starts over and for a new run. On rank 0.
std::string tokenizer_to_go_on_with(Session& session, const std::string& resume) {
  std::string found;
  together(session.ranks(), [&] {
    if (!session.is_first() || resume == "none") return;
    std::vector<std::string> checkpoints = paths_of(list_checkpoints(session.checkpoint_dir()));
    if (resume != "auto") checkpoints.insert(checkpoints.begin(), resume);
    found = kept_tokenizer(checkpoints);
  });
  return found;
}

// What the run came to: the model beside the weakest model there is, and a few texts, unless a stop
// is asked for. The ranks that have nothing to do with it wait. Collective.
void show_result(Session& session, const TokenData& data, const Stages& stages, LanguageModel& lm,
                 std::optional<double> loss, const StopSignal& stop) {
  together(session.ranks(), [&] {
    if (!session.is_first() || !loss) return;
    show_line(fmt::format("validation perplexity {:.2f} (unigram model: {:.2f})", std::exp(*loss),
                          unigram_perplexity(data.train, *data.valid)));
  });
  const double asked = stop.requested() ? 1.0 : 0.0;
  if (max_over_ranks(session.cx(), session.comm(), asked) > 0.0)
    return say(session, "stopped on request: no texts are sampled");
  together(session.ranks(), [&] {
    if (session.mesh().here.data != 0) return;
    const Recipe& r = session.recipe();
    const std::vector<std::string> texts =
        sample_texts(session.cx(), *session.mesh().pipeline, stages, lm.model, data.tokenizer,
                     r.generate, static_cast<std::uint64_t>(r.seed));
    for (const std::string& text : texts)
      if (session.is_first()) show_line("---\n" + text);
  });
}

std::vector<StepObserver*> observers(std::initializer_list<StepObserver*> all) {
  std::vector<StepObserver*> there;
  std::ranges::copy_if(all, std::back_inserter(there),
                       [](StepObserver* o) { return o != nullptr; });
  return there;
}

CheckpointPolicy checkpoint_policy(const Session& session, const TokenData& data,
                                   const Stages& stages) {
  const Recipe& r = session.recipe();
  CheckpointPolicy policy;
  policy.dir = session.checkpoint_dir();
  policy.every = r.checkpoint.every;
  policy.keep = r.checkpoint.keep;
  policy.run = {model_identity(data.tokenizer), to_toml(r), layout_text(r, stages)};
  policy.last_step = r.train.steps;
  policy.course = course_of(r, data_identity(data));
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
  const std::string tokenizer = tokenizer_to_go_on_with(session, args.resume);
  const auto found = session.prepare(say_first, tokenizer, stop_requested);
  if (!found) return stopped_early(session);
  const PreparedText& prepared = *found;
  const Recipe& recipe = session.recipe();
  std::optional<TokenData> data;
  together(session.ranks(), [&] { data.emplace(prepared); });
  const Stages stages = plan_stages(session.cx(), session.comm(), recipe,
                                    decoder_config(recipe, prepared.vocabulary));
  std::optional<LanguageModel> lm;
  together(session.ranks(),
           [&] { lm.emplace(session.cx(), recipe, *data, session.mesh(), stages); });
  say(session,
      fmt::format("ranks           {}; {}", session.comm().describe(), session.threads_text()));
  say(session, to_text(make_plan(recipe, prepared.vocabulary, session.mesh().shape), recipe,
                       session.mesh().shape));
  say(session, placement_text(session.ranks(), session.mesh(), stages));

  Learner learner(session.cx(), session.mesh(), recipe, lm->model);
  Communicator& replica = *session.mesh().pipeline;
  Pipeline pipeline(replica, stages.schedule,
                    make_boundary(session.cx(), replica, recipe, stages.schedule));
  Checkpointing checkpoints(session.ranks(), checkpoint_policy(session, *data, stages));
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
                  {session.comm(), pipeline, lm->task, learner.optimizer(), learner.ranks(),
                   checkpoints, report, schedule_config(recipe), stop_requested, compressing,
                   observers({watch.steps(), tracer.get()})});
  std::vector<Stateful*> state{&learner.optimizer(), &learner.ranks(), &lm->task, &pipeline,
                               &trainer};
  if (compressing) state.push_back(compressing);
  checkpoints.track({parameters_of(lm->model), std::move(state)});
  begin(session, checkpoints, *data, stages, report, args.resume);
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
  show_result(session, *data, stages, *lm, trainer.validation_loss(session.cx()), stop);
  session.comm().barrier();
  return ExitCode::kDone;
}

}  // namespace

ExitCode run_train(const TrainArgs& args) {
  const RankEnvironment env = read_rank_environment();
  const StopSignal stop(rank_prefix(env));  // a signal may come while ranks are still starting
  Recipe recipe = load_recipe(args.recipe.path, args.recipe.set);
  const int ranks = args.ranks > 0 ? args.ranks : env.size;
  validate(recipe, ranks);
  const MeshShape shape = mesh_shape(recipe, ranks);
  const Plan plan = make_plan(recipe, recipe.data.vocab_size, shape);
  if (args.dry_run) {
    if (env.rank == 0) console().say(to_text(plan, recipe, shape));
    return ExitCode::kDone;
  }
  // Before ranks meet, like all that is wrong with a recipe: each ends by itself, and none is lost.
  check_run_folder(recipe);
  check_fits(plan, env.local_size, available_memory_bytes());
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
