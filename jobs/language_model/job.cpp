#include "jobs/language_model/job.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"
#include "data/sample_rows.h"
#include "data/unigram.h"
#include "train/run_on_all_ranks.h"

#include "jobs/language_model/export.h"
#include "jobs/language_model/measure_units.h"
#include "jobs/language_model/prepared_text.h"
#include "jobs/language_model/samples.h"
#include "jobs/language_model/task.h"

namespace gradwire {
namespace {

Context seeded(Context cx, const Recipe& recipe) {
  cx.rng = Rng{static_cast<std::uint64_t>(recipe.seed), 0};
  return cx;
}

// As Hugging Face's PEFT calls it.
constexpr const char* kAdapterName = "default";

SamplerConfig sampler_config(const Recipe& recipe, const Mesh& mesh) {
  const TextRecipe& text = language_model_of(recipe).data;
  SamplerConfig config;
  config.sequence = text.context;
  config.batch = recipe.batch.micro;
  config.seed = static_cast<std::uint64_t>(recipe.seed);
  config.rank = mesh.here.data;
  config.ranks = mesh.shape.data;
  config.own_stretch = text.ranks_read == "stretch";
  return config;
}

// Before data is prepared for it.
void check_packing(const TextRecipe& text, Device device) {
  if (!text.has_samples() || !text.packing || device.type == DeviceType::kCpu) return;
  throw Error(ErrorKind::kConfig,
              "data.packing: several samples in a sequence are computed on CPUs alone so far; on a "
              "GPU, give each a sequence of its own (data.packing = false)");
}

}  // namespace

bool LanguageModelJob::prepare(JobHost& host, const Preparation& how) {
  if (how.content == Content::kTraining || how.content == Content::kEvaluation) {
    check_packing(language_model_of(recipe_).data, host.cx.stream.device);
  }
  if (language_model_of(recipe_).adapters.is_used()) {
    base_ranks_ = make_coordinator(host.cx, host.world, {});
  }
  if (how.content == Content::kRandom) return true;
  if (has_pretrained_weights()) open_pretrained(host);
  if (how.content == Content::kTraining) {
    if (!prepare_training(host, how)) return false;
  } else if (how.content == Content::kEvaluation) {
    run_text_.emplace(host, recipe_, how.checkpoints);
    run_on_all_ranks(host.ranks, [&] { data_.emplace(run_text_->prepared()); });
  } else {
    tokenizer_ = run_tokenizer(host, recipe_, how.checkpoints);
  }
  return true;
}

bool LanguageModelJob::has_pretrained_weights() const {
  return !language_model_of(recipe_).model.from.empty();
}

void LanguageModelJob::open_pretrained(JobHost& host) {
  const std::string& path = language_model_of(recipe_).model.from;
  std::string digest;  // once on every host: it reads the whole file
  run_on_all_ranks(host.ranks, [&] {
    pretrained_.emplace(ForeignDecoder::open(path));
    pretrained_->check_tensors();
    if (host.local_rank == 0) digest = to_hex(pretrained_->digest());
  });
  pretrained_digest_ = host.ranks.all_gather(digest).front();
  run_on_all_ranks(host.ranks, [&] {
    if (digest.empty() || digest == pretrained_digest_) return;
    throw Error(ErrorKind::kData,
                fmt::format("{}: another model than rank 0's: their digests are {} and {}", path,
                            digest, pretrained_digest_));
  });
}

bool LanguageModelJob::prepare_training(JobHost& host, const Preparation& how) {
  std::string tokenizer;
  run_on_all_ranks(host.ranks, [&] {
    if (!host.is_first()) return;
    tokenizer = kept_tokenizer(how.checkpoints);
    const AdaptersRecipe& adapters = language_model_of(recipe_).adapters;
    if (tokenizer.empty() && adapters.is_used() && !adapters.base.empty()) {
      tokenizer = kept_tokenizer(base_checkpoints(adapters));
    }
  });
  const std::optional<PreparedText> found =
      prepare_on_all_hosts(host, prepare_config(recipe_), tokenizer, how);
  if (!found) return false;
  prepared_ = *found;
  run_on_all_ranks(host.ranks, [&] { data_.emplace(prepared_); });
  return true;
}

std::string LanguageModelJob::data_summary() const {
  const TextRecipe& data = language_model_of(recipe_).data;
  if (data.has_samples() && data_) {
    const double padding = SampleRows(data_->train, data.context, data.packing).padding_share();
    return fmt::format(
        "{}: vocabulary {}, {} samples ({} truncated, {} left out), {} training and {} validation "
        "tokens, {} of them answers; {:.3g} % of the training sequences is padding{}",
        data.cache, prepared_.vocabulary, prepared_.documents, prepared_.truncated,
        prepared_.left_out, prepared_.train_tokens, prepared_.valid_tokens, prepared_.answer_tokens,
        100 * padding, prepared_.was_there ? ", up to date" : "");
  }
  return fmt::format("{}: vocabulary {}, {} documents, {} training and {} validation tokens{}",
                     language_model_of(recipe_).data.cache, prepared_.vocabulary,
                     prepared_.documents, prepared_.train_tokens, prepared_.valid_tokens,
                     prepared_.was_there ? ", up to date" : "");
}

std::int64_t LanguageModelJob::vocabulary() const {
  const bool is_known = has_pretrained_weights() || (!data_ && !tokenizer_);
  if (is_known) return language_model_of(recipe_).data.vocab_size;
  return tokenizer().vocabulary();
}

ModelOutline LanguageModelJob::outline() const {
  return decoder_outline(recipe_, config());
}

std::vector<UnitCost> LanguageModelJob::measure(Context& cx) {
  return measure_units(cx, config(),
                       {recipe_.batch.micro, language_model_of(recipe_).data.context});
}

std::unique_ptr<Task> LanguageModelJob::build(Context& cx, const Position& position,
                                              Content content) {
  Context init = seeded(cx, recipe_);
  auto model = std::make_unique<DecoderLm>(init, config(), position.here());
  const bool is_part = position.mesh.shape.pipeline > 1;
  const AdaptersRecipe& adapters = language_model_of(recipe_).adapters;
  set_trainable(
      *model, adapters.is_used() ? adapters.also_train : language_model_of(recipe_).model.trainable,
      is_part);
  TaskData data;
  data.sampler = sampler_config(recipe_, position.mesh);
  data.packs = language_model_of(recipe_).data.packing;
  data.random = content == Content::kRandom;
  if (content == Content::kTraining || content == Content::kEvaluation) {
    data.train = &data_->train;
    data.valid = data_->valid_file();
  }
  if (content != Content::kRandom) load_weights(cx, *model);
  if (!adapters.is_used()) {
    return std::make_unique<LanguageModelTask>(cx, std::move(model), position.stages.cut, data);
  }
  auto set = std::make_unique<AdapterSet>(init, model->sites(), adapters.config(),
                                          std::vector<std::string>{kAdapterName}, is_part);
  return std::make_unique<LanguageModelTask>(cx, std::move(model), std::move(set),
                                             position.stages.cut, data);
}

void LanguageModelJob::load_weights(Context& cx, DecoderLm& model) const {
  const AdaptersRecipe& adapters = language_model_of(recipe_).adapters;
  if (adapters.is_used() && !adapters.base.empty()) {
    load_base(cx, adapters, model, model_identity(), *base_ranks_);
  } else if (pretrained_) {
    pretrained_->load(cx, model);
  }
}

std::string LanguageModelJob::model_identity() const {
  const std::string tokenizer_name = tokenizer_identity(tokenizer());
  if (!pretrained_) return tokenizer_name;
  return fmt::format("{}, begun with {}", tokenizer_name, pretrained_digest_);
}

std::string LanguageModelJob::data_identity() const {
  return tokens_identity(*data_);
}

std::string LanguageModelJob::keep_data(const Recipe& recipe) {
  return keep_text(recipe, *data_);
}

std::vector<std::string> LanguageModelJob::sample_texts(JobHost& host, Task& task,
                                                        const Position& position) const {
  return gradwire::sample_texts(host.cx, *position.mesh.pipeline, position.stages,
                                static_cast<LanguageModelTask&>(task).decoder(), tokenizer(),
                                language_model_of(recipe_).generate,
                                static_cast<std::uint64_t>(recipe_.seed),
                                static_cast<LanguageModelTask&>(task).adapted());
}

// The model beside the weakest model there is.
void LanguageModelJob::show_result(JobHost& host, std::span<const Sum> found,
                                   const std::function<void(const std::string&)>& show) {
  const std::optional<double> loss = value_of(found, "loss");
  run_on_all_ranks(host.ranks, [&] {
    if (!host.is_first() || !loss) return;
    if (data_->train.has_answers()) {
      show(fmt::format("validation perplexity {:.2f} of the answers", std::exp(*loss)));
      return;
    }
    show(fmt::format("validation perplexity {:.2f} (unigram model: {:.2f})", std::exp(*loss),
                     unigram_perplexity(data_->train, *data_->valid)));
  });
}

// Of one replica; the ranks of others wait.
void LanguageModelJob::show_samples(JobHost& host, Task& task, const Position& position,
                                    const std::function<void(const std::string&)>& show) {
  run_on_all_ranks(host.ranks, [&] {
    if (position.mesh.here.data != 0) return;
    for (const std::string& text : sample_texts(host, task, position))
      if (host.is_first()) show("---\n" + text);
  });
}

std::string LanguageModelJob::export_model(JobHost& host, Task& task,
                                           const ExportRequest& request) {
  return export_decoder(host.cx, recipe_, tokenizer(), static_cast<LanguageModelTask&>(task),
                        request);
}

void LanguageModelJob::carry_out(std::string_view verb, JobHost& host, Task& task,
                                 const Position& position) {
  check(verb == "generate", ErrorKind::kInternal, "language model: no such verb");
  for (const std::string& text : sample_texts(host, task, position))
    if (host.is_first()) fmt::print("{}\n", printable(text));
}

}  // namespace gradwire
