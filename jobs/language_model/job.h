// Pretraining a decoder language model, and continuing texts with it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder_lm.h"
#include "models/formats/decoder_format.h"

#include "jobs/job.h"
#include "jobs/language_model/recipe.h"
#include "jobs/language_model/run_data.h"
#include "jobs/language_model/text_data.h"

namespace gradwire {

class LanguageModelJob final : public Job {
 public:
  explicit LanguageModelJob(const Recipe& recipe) : recipe_(recipe) {}

  bool prepare(JobHost& host, const Preparation& how) override;
  std::string data_summary() const override;
  ModelOutline outline() const override;
  std::vector<UnitCost> measure(Context& cx) override;
  std::unique_ptr<Task> build(Context& cx, const Position& position, Content content) override;
  std::string model_identity() const override;
  bool has_pretrained_weights() const override;
  std::string data_identity() const override;
  std::string keep_data(const Recipe& recipe) override;
  void show_result(JobHost& host, std::span<const Sum> found,
                   const std::function<void(const std::string&)>& show) override;
  void show_samples(JobHost& host, Task& task, const Position& position,
                    const std::function<void(const std::string&)>& show) override;
  void carry_out(std::string_view verb, JobHost& host, Task& task,
                 const Position& position) override;
  std::string export_model(JobHost& host, Task& task, const ExportRequest& request) override;

 private:
  // Opens the model that training begins with, which must be the same on all hosts. Collective.
  void open_pretrained(JobHost& host);
  // Those of the base of adapters, or of the model that training begins with.
  void load_weights(Context& cx, DecoderLm& model) const;
  bool prepare_training(JobHost& host, const Preparation& how);
  const Tokenizer& tokenizer() const { return data_ ? *data_->tokenizer : *tokenizer_; }
  // As the recipe says until there is a tokenizer.
  std::int64_t vocabulary() const;
  DecoderConfig config() const { return decoder_config(recipe_, vocabulary()); }
  std::vector<std::string> sample_texts(JobHost& host, Task& task, const Position& position) const;

  Recipe recipe_;
  std::optional<ForeignDecoder> pretrained_;
  std::string pretrained_digest_;
  PreparedText prepared_;            // for training
  std::optional<RunText> run_text_;  // for evaluation; may own the files of data_
  std::optional<TokenData> data_;
  std::unique_ptr<const Tokenizer> tokenizer_;  // without data
  // To load the base of adapters with; build() may be called while the program's own coordinator is
  // at work.
  std::unique_ptr<Coordinator> base_ranks_;
};

}  // namespace gradwire
