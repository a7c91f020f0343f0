// From text files to what training reads: a tokenizer and the token files of the training and the
// validation documents, in a cache folder. One process calls it; who else waits is up to the
// caller.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/corpus.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace gradwire {

struct PrepareConfig {
  CorpusConfig corpus;
  TokenizerConfig tokenizer;
  std::string tokenizer_model;  // an existing model to use instead of training one; empty: train
  SplitConfig split;
  std::string cache_folder;
};

struct PreparedText {
  std::string tokenizer_path;
  std::string train_path;
  std::string valid_path;  // empty where split.valid_share is 0
  std::int64_t vocabulary = 0;
  std::int64_t documents = 0;
  std::int64_t train_tokens = 0;
  std::int64_t valid_tokens = 0;
  bool was_there = false;  // nothing had to be done
};

// Does nothing where the cache folder's manifest (prepared.json) names the same settings and the
// same content of all inputs, and the outputs are whole; else makes everything again. The tokenizer
// sees training documents only. A manifest is there only together with all it names. `say` gets a
// line per step. Errors: those of the corpus, the tokenizer and the token files; kData where
// the split leaves one side without a document.
PreparedText prepare_text(const PrepareConfig& config,
                          const std::function<void(const std::string&)>& say = {});

}  // namespace gradwire
