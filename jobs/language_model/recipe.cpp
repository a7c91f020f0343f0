#include "jobs/language_model/recipe.h"

#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "core/error.h"

#include "jobs/language_model/job.h"
#include "jobs/language_model/pretrained.h"
#include "jobs/language_model/task.h"

namespace gradwire {
namespace {

// The rules between keys. Only called on values that are in range.
class Rules {
 public:
  Rules(const LanguageModelRecipe& job, const Recipe& r, ProblemList& out)
      : job_(job), r_(r), out_(out) {}

  void check(Inputs inputs) {
    model();
    sizes();
    held_out();
    samples();
    check_adapters(job_.adapters, inputs, !job_.model.from.empty(), out_);
    if (job_.adapters.is_used() && job_.model.trainable != StringList{"*"}) {
      out_.blame({"model.trainable", "adapters.method"},
                 "the model is frozen under adapters: give adapters.also_train");
    }
    if (inputs == Inputs::kNeeded) text();
  }

 private:
  void model() {
    const DecoderRecipe& m = job_.model;
    if (m.head_width != 0) {
      if (m.head_width % 2 != 0) {
        out_.blame({"model.head_width"},
                   fmt::format("heads of {}: rotary positions need an even number", m.head_width));
      }
    } else if (m.width % m.heads != 0) {
      out_.blame({"model.heads", "model.width"},
                 fmt::format("{} heads do not divide width {}", m.heads, m.width));
    } else if (m.width / m.heads % 2 != 0) {
      out_.blame(
          {"model.heads", "model.width"},
          fmt::format("width {} over {} heads gives heads of {}: rotary positions need an even "
                      "number",
                      m.width, m.heads, m.width / m.heads));
    }
    if (m.heads % m.resolved_kv_heads() != 0) {
      out_.blame({"model.kv_heads", "model.heads"},
                 fmt::format("{} key and value heads do not divide {} heads", m.kv_heads, m.heads));
    }
    if (job_.generate.top_k > job_.data.vocab_size) {
      out_.blame({"generate.top_k", "data.vocab_size"},
                 fmt::format("{} likeliest tokens of a vocabulary of {}", job_.generate.top_k,
                             job_.data.vocab_size));
    }
  }

  void sizes() {
    constexpr double kMostBytes = 0x1p43, kBytes = 4.0;
    const auto as_double = [](std::int64_t n) { return static_cast<double>(n); };
    const double layers = as_double(job_.model.layers), width = as_double(job_.model.width),
                 ffn = as_double(job_.model.resolved_ffn_width()),
                 vocab = as_double(job_.data.vocab_size);
    const double parameters = layers * width * (4.0 * width + 3.0 * ffn) + 2.0 * vocab * width;
    if (kBytes * parameters > kMostBytes) {
      out_.blame({"model.layers", "model.width", "model.ffn_width"},
                 fmt::format("a model of {:.2g} parameters; at most {:.2g}", parameters,
                             kMostBytes / kBytes));
    }
    const double rows = as_double(r_.batch.micro) * as_double(job_.data.context);
    const double activations = rows * (layers * (8.0 * width + 3.0 * ffn) + vocab);
    if (kBytes * activations > kMostBytes) {
      out_.blame({"batch.micro", "data.context", "model.layers", "model.width"},
                 fmt::format("{:.2g} numbers to keep of a micro-batch; at most {:.2g}", activations,
                             kMostBytes / kBytes));
    }
  }

  void text() {
    for (const std::string& path : job_.data.text) {
      std::error_code failure;
      if (!std::filesystem::is_regular_file(path, failure)) {
        out_.blame({"data.text"}, fmt::format("no such file: '{}'", path), true);
      } else if (!std::ifstream(path)) {
        out_.blame({"data.text"}, fmt::format("not readable: '{}'", path), true);
      }
    }
  }

  void samples() {
    if (!job_.data.has_samples() || job_.data.ranks_read == "all") return;
    out_.blame({"data.ranks_read", "data.format"},
               "ranks read stretches of their own of text alone, not of samples");
  }

  void held_out() {
    if (!r_.checkpoint.best.empty() && r_.checkpoint.best != LanguageModelTask::kLoss) {
      out_.blame({"checkpoint.best"}, fmt::format("no metric '{}': there is '{}'",
                                                  r_.checkpoint.best, LanguageModelTask::kLoss));
    }
    if (r_.train.eval_every == 0 || job_.data.validation_share > 0.0) return;
    out_.blame({"train.eval_every", "data.validation_share"},
               "nothing to evaluate on: data.validation_share is 0");
  }

  const LanguageModelRecipe& job_;
  const Recipe& r_;
  ProblemList& out_;
};

void check_prompt(const Recipe& recipe) {
  if (!language_model_of(recipe).generate.prompt.empty()) return;
  throw Error(ErrorKind::kUsage, "generate: give --prompt, or generate.prompt in the recipe");
}

constexpr std::array kGenerateOptions = {
    VerbOption{"--prompt", "generate.prompt", "a text to continue; may be repeated", true},
    VerbOption{"--tokens", "generate.tokens", "tokens to add"},
    VerbOption{"--temperature", "generate.temperature", "0: always the likeliest token"},
    VerbOption{"--top-k", "generate.top_k", "0: draw among all"},
    VerbOption{"--seed", "seed", "of the draws"},
};
constexpr std::array kVerbs = {Verb{"generate", "continue texts", kGenerateOptions, check_prompt}};

template <class AnyRecipe>
auto& sections_of(AnyRecipe& recipe) {
  auto* job = dynamic_cast<LanguageModelRecipe*>(recipe.job.sections());
  check(job != nullptr, ErrorKind::kInternal, "not the recipe of a language model");
  return *job;
}

}  // namespace

void LanguageModelRecipe::fields(FieldVisitor& v) {
  v.section("model", model, "A LLaMA-style decoder. Its vocabulary is the tokenizer's.");
  v.section("adapters", adapters, "Small trainable parts on a frozen model.");
  v.section("data", data, "Text, tokenizer and sequences.");
  v.section("generate", generate, "Defaults of `gradwire generate`.");
}

std::unique_ptr<JobSections> LanguageModelRecipe::clone() const {
  return std::make_unique<LanguageModelRecipe>(*this);
}

void LanguageModelRecipe::resolve_defaults() {
  model.kv_heads = model.resolved_kv_heads();
  model.ffn_width = model.resolved_ffn_width();
  model.head_width = model.resolved_head_width();
}

void LanguageModelRecipe::complete(const Origins& origins, ProblemList& out) {
  if (!model.from.empty()) take_sizes(*this, origins, out);
}

void LanguageModelRecipe::check(const Recipe& recipe, int /*ranks*/, Inputs inputs,
                                ProblemList& out) const {
  Rules(*this, recipe, out).check(inputs);
}

int LanguageModelRecipe::units(const Recipe& /*recipe*/) const {
  return static_cast<int>(model.layers) + 2;
}

ModelOutline LanguageModelRecipe::outline(const Recipe& recipe) const {
  return decoder_outline(recipe, decoder_config(recipe, data.vocab_size));
}

std::span<const Verb> LanguageModelRecipe::verbs() const {
  return kVerbs;
}

void LanguageModelRecipe::check_evaluation(const Recipe& recipe) const {
  if (data.validation_share > 0.0) return;
  ProblemList problems(recipe.origins);
  problems.add("data.validation_share",
               "no text is held out, so there is nothing to evaluate on: give a share above 0, of "
               "texts that the model was not trained on (data.text)");
  throw RecipeError(problems.take());
}

std::unique_ptr<Job> LanguageModelRecipe::make(const Recipe& recipe) const {
  return std::make_unique<LanguageModelJob>(recipe);
}

LanguageModelRecipe& language_model_of(Recipe& recipe) {
  return sections_of(recipe);
}

const LanguageModelRecipe& language_model_of(const Recipe& recipe) {
  return sections_of(recipe);
}

}  // namespace gradwire
