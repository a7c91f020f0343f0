#include "data/prepare.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "data/publish.h"
#include "data/token_file.h"

namespace gradwire {
namespace {

using nlohmann::json;

constexpr int kManifestVersion = 1;

struct Paths {
  std::string tokenizer, train, valid, manifest;
};

Paths paths_in(const std::string& folder) {
  const std::filesystem::path at(folder);
  return {(at / "tokenizer.model").string(), (at / "train.h5").string(), (at / "valid.h5").string(),
          (at / "prepared.json").string()};
}

// Everything that the outputs depend on.
json inputs_of(const PrepareConfig& config) {
  json texts = json::array();
  for (const std::string& path : config.corpus.files) {
    texts.push_back({{"path", path}, {"xxh3", to_hex(hash_of_file(path))}});
  }
  json inputs = {{"version", kManifestVersion},
                 {"texts", texts},
                 {"document_break", name_of(config.corpus.document_break)},
                 {"valid_share", config.split.valid_share},
                 {"split_seed", config.split.seed}};
  if (config.tokenizer_model.empty()) {
    inputs["tokenizer"] = {{"kind", name_of(config.tokenizer.kind)},
                           {"vocabulary", config.tokenizer.vocabulary},
                           {"max_training_bytes", config.tokenizer.max_training_bytes}};
  } else {
    inputs["tokenizer"] = {{"path", config.tokenizer_model},
                           {"xxh3", to_hex(hash_of_file(config.tokenizer_model))}};
  }
  return inputs;
}

// The documents of one side of the split.
class Side : public DocumentSource {
 public:
  Side(Corpus& corpus, const SplitConfig& split, bool held_out)
      : corpus_(corpus), split_(split), held_out_(held_out) {}
  bool next(std::string& document) override {
    while (corpus_.next(document)) {
      if (is_held_out(split_, corpus_.documents() - 1) == held_out_) return true;
    }
    return false;
  }
  std::int64_t bytes() const override { return corpus_.bytes(); }

 private:
  Corpus& corpus_;
  SplitConfig split_;
  bool held_out_;
};

struct SideCounts {
  std::int64_t documents = 0;
  std::int64_t tokens = 0;
};

SideCounts encode_side(Corpus& corpus, const SplitConfig& split, bool held_out,
                       const Tokenizer& tokenizer, const std::string& path) {
  corpus.rewind();
  Side side(corpus, split, held_out);
  TokenFileWriter out(path, {tokenizer.vocabulary(), tokenizer.hash()});
  std::string document;
  std::vector<std::int32_t> ids;
  while (side.next(document)) {
    ids = tokenizer.encode(document);
    ids.insert(ids.begin(), tokenizer.bos_id());
    ids.push_back(tokenizer.eos_id());
    out.add_document(ids);
  }
  if (out.documents() == 0) {
    throw Error(
        ErrorKind::kData,
        fmt::format("{}: a validation share of {} of {} documents (seed {}) leaves none for "
                    "{}",
                    path, split.valid_share, corpus.documents(), split.seed,
                    held_out ? "validation" : "training"));
  }
  out.finish();
  return {out.documents(), out.tokens()};
}

PreparedText describe(const Paths& paths, const PrepareConfig& config) {
  PreparedText out;
  out.tokenizer_path = paths.tokenizer;
  out.train_path = paths.train;
  const Tokenizer tokenizer = Tokenizer::load(paths.tokenizer);
  const TokenFile train = TokenFile::open(paths.train, tokenizer.hash());
  out.vocabulary = tokenizer.vocabulary();
  out.documents = train.documents();
  out.train_tokens = train.tokens();
  if (config.split.valid_share > 0) {
    const TokenFile valid = TokenFile::open(paths.valid, tokenizer.hash());
    out.valid_path = paths.valid;
    out.documents += valid.documents();
    out.valid_tokens = valid.tokens();
  }
  return out;
}

// Whether the folder holds what these inputs give; `why` says what is wrong where it does not.
bool is_current(const Paths& paths, const PrepareConfig& config, const json& inputs,
                std::string& why) {
  if (!std::filesystem::exists(paths.manifest)) {
    why = "nothing prepared yet";
    return false;
  }
  const json manifest = json::parse(read_text(paths.manifest), nullptr, false);
  if (!manifest.is_object() || !manifest.contains("inputs") || manifest["inputs"] != inputs) {
    why = "texts or settings have changed";
    return false;
  }
  try {
    describe(paths, config);
  } catch (const Error& e) {
    why = e.what();
    return false;
  }
  return true;
}

void make_tokenizer(const PrepareConfig& config, Corpus& corpus, const std::string& path) {
  if (!config.tokenizer_model.empty()) {
    publish_text(path, read_text(config.tokenizer_model));
    return;
  }
  Side training(corpus, config.split, false);
  publish_text(path, train_tokenizer(config.tokenizer, training));
}

}  // namespace

PreparedText prepare_text(const PrepareConfig& config,
                          const std::function<void(const std::string&)>& say) {
  const auto tell = [&say](const std::string& line) {
    if (say) say(line);
  };
  const double share = config.split.valid_share;
  if (!(share >= 0 && share < 1)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("prepare: validation share {}, not in [0, 1)", share));
  }
  Corpus corpus(config.corpus);
  const Paths paths = paths_in(config.cache_folder);
  std::error_code failure;
  std::filesystem::create_directories(config.cache_folder, failure);
  if (failure) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be made: {}", config.cache_folder, failure.message()));
  }
  const json inputs = inputs_of(config);
  std::string why;
  if (is_current(paths, config, inputs, why)) {
    PreparedText out = describe(paths, config);
    out.was_there = true;
    tell(fmt::format("{}: already prepared", config.cache_folder));
    return out;
  }
  tell(fmt::format("{}: preparing: {}", config.cache_folder, why));
  std::filesystem::remove(paths.manifest);
  make_tokenizer(config, corpus, paths.tokenizer);
  const Tokenizer tokenizer = Tokenizer::load(paths.tokenizer);
  tell(fmt::format("{}: vocabulary of {}", paths.tokenizer, tokenizer.vocabulary()));
  const SideCounts train = encode_side(corpus, config.split, false, tokenizer, paths.train);
  tell(fmt::format("{}: {} tokens in {} documents", paths.train, train.tokens, train.documents));
  if (share > 0) {
    const SideCounts valid = encode_side(corpus, config.split, true, tokenizer, paths.valid);
    tell(fmt::format("{}: {} tokens in {} documents", paths.valid, valid.tokens, valid.documents));
  }
  const json manifest = {{"inputs", inputs}};
  publish_text(paths.manifest, manifest.dump(2) + "\n");
  return describe(paths, config);
}

}  // namespace gradwire
