// A trained decoder, with or without adapters, in the formats of other programs.
#pragma once

#include <string>

#include "data/tokenizer.h"

#include "jobs/job.h"
#include "jobs/language_model/task.h"

namespace gradwire {

// As Job::export_model(). Formats "hf" and "gguf" hold a whole model, into which an adapter is
// merged; "peft" and "gguf-lora" an adapter alone.
std::string export_decoder(Context& cx, const Recipe& recipe, const Tokenizer& tokenizer,
                           LanguageModelTask& task, const ExportRequest& request);

}  // namespace gradwire
