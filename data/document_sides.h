// The two sides of a corpus that is split for validation, each as a stream of documents. Whole
// documents are held out; a corpus whose documents would all fall on one side, such as one text
// without a blank line, is cut in two instead, and its tail is held out.
#pragma once

#include <cstdint>
#include <string>

#include "data/corpus.h"
#include "data/split.h"
#include "data/tokenizer.h"

namespace gradwire {

struct SidePlan {
  SplitConfig split;
  // Byte of the text of all documents at which the held-out tail begins; -1: whole documents are.
  std::int64_t tail_from = -1;
};
// Reads on until both sides have a document, and everything if they never do.
SidePlan plan_sides(Corpus& corpus, const SplitConfig& split);

// One side, from the beginning of the corpus on. The corpus must outlive it; of several sides the
// one made last has it.
class Side final : public DocumentSource {
 public:
  Side(Corpus& corpus, const SidePlan& plan, bool held_out);
  bool next(std::string& document) override;
  std::int64_t bytes() const override { return corpus_.bytes(); }

 private:
  Corpus& corpus_;
  SidePlan plan_;
  bool held_out_;
  std::int64_t text_before_ = 0;  // bytes of the documents before this one
};

}  // namespace gradwire
