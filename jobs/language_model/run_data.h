// What a run keeps of its data, in its folder: a copy of the tokenizer, named by its digest, which
// every checkpoint names too (tokenizer_identity()), and where the tokens lie. So a trained model
// keeps the tokenizer it was trained with, whatever becomes of the cache and of the text, and those
// who only look at a run change neither.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/prepare.h"
#include "data/tokenizer.h"

#include "jobs/language_model/text_data.h"

namespace gradwire {

// Writes it, for training alone. Gives what a run that goes on should be told, or nothing. One
// process. Errors: kIo.
std::string keep_text(const Recipe& recipe, const TokenData& data);

// The copy that belongs to the first of these checkpoints whose manifest can be used, in the folder
// of the run that holds it. Empty if there is none, as in runs of versions that kept no copy.
// Errors: kIo.
std::string kept_tokenizer(const std::vector<std::string>& checkpoints);

// The digest of the data that the run of a checkpoint was trained on last, from its folder; empty
// if the run has kept none.
std::string kept_data_digest(const std::string& checkpoint);

// The text of a recipe as the tokens of a trained model, for looking at: from the cache; if the
// text has changed or is another one, made for this process alone, in a folder for temporary files;
// if it is gone, what the run has kept of it.
class RunText {
 public:
  // Errors: kData if neither the text nor its tokens are there. Collective.
  RunText(JobHost& host, const Recipe& recipe, const std::vector<std::string>& checkpoints);
  const PreparedText& prepared() const { return prepared_; }

 private:
  PreparedText find(const Recipe& recipe, const std::string& tokenizer);

  std::optional<TemporaryFolder> made_;
  PreparedText prepared_;
};

// The tokenizer of a trained model alone. Collective. Errors: as of RunText.
std::unique_ptr<const Tokenizer> run_tokenizer(JobHost& host, const Recipe& recipe,
                                               const std::vector<std::string>& checkpoints);

}  // namespace gradwire
