// From text files to what training reads: a tokenizer and the token files of the training and the
// validation documents, in a cache folder. What is in the cache is named by a digest of all that it
// depends on, so that texts and settings of several runs lie beside each other and nothing there is
// ever replaced by something else. Several processes may prepare at once, on several hosts: each
// writes under a name of its own, and the first to finish gives its result the common name.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

#include "data/corpus.h"
#include "data/sample_tokens.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace gradwire {

struct PrepareConfig {
  CorpusConfig corpus;
  // If there is one, corpus.files are JSON lines, and documents are samples to fine-tune on; whole
  // samples are held out, however few there are.
  std::optional<SampleConfig> samples;
  TokenizerConfig tokenizer;
  std::string tokenizer_model;  // an existing model to use instead of training one; empty: train
  SplitConfig split;
  std::string cache_folder;
  // Asked between documents, on this thread; prepare_text then throws PreparationStopped. May be
  // empty.
  std::function<bool()> stop_requested;
};

// Nothing has been made that was not whole; what was is kept for the next time.
class PreparationStopped final : public std::exception {
 public:
  const char* what() const noexcept override { return "prepare: stopped on request"; }
};

struct PreparedText {
  std::string tokenizer_path;
  std::string train_path;
  std::string valid_path;  // empty if split.valid_share is 0
  std::int64_t vocabulary = 0;
  std::int64_t documents = 0;
  std::int64_t train_tokens = 0;
  std::int64_t valid_tokens = 0;
  // Of samples to fine-tune on, both sides together.
  std::int64_t answer_tokens = 0;
  std::int64_t truncated = 0;
  std::int64_t left_out = 0;
  bool was_there = false;  // nothing had to be done
};

// Gives what the cache has of these settings and the content of these files; what is not there, or
// is damaged, is made. The tokenizer sees training documents only. `say` gets a line per step.
// Errors: those of the corpus, the tokenizer and the token files; kData if the split leaves one
// side without text; kConfig if the cache may not be written, kIo if it cannot;
// PreparationStopped.
PreparedText prepare_text(const PrepareConfig& config,
                          const std::function<void(const std::string&)>& say = {});

// The same without making anything or writing anywhere; nothing if it is not there or is damaged.
std::optional<PreparedText> find_prepared(const PrepareConfig& config);

// What lies at these paths of a PreparedText, as another process was told them. Errors: those of
// the tokenizer and the token files.
PreparedText open_prepared(const std::string& tokenizer_path, const std::string& train_path,
                           const std::string& valid_path);

}  // namespace gradwire
