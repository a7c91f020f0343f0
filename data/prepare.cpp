#include "data/prepare.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/hash.h"
#include "core/io_error.h"
#include "data/document_sides.h"
#include "data/file_digests.h"
#include "data/token_file.h"

namespace gradwire {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Say = std::function<void(const std::string&)>;

constexpr int kCacheVersion = 2;
constexpr const char* kMemoName = "digests.json";

std::string join(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}
std::string digest_of(const json& inputs) {
  return to_hex(hash_of(inputs.dump()));
}

// What both the tokenizer and the tokens depend on. Content counts, and where it lies does not.
json text_inputs(const PrepareConfig& config, FileDigests& digests) {
  json texts = json::array();
  for (const std::string& path : config.corpus.files)
    texts.push_back(digests.digest(path));
  json inputs = {{"version", kCacheVersion},
                 {"texts", texts},
                 {"document_break", name_of(config.corpus.document_break)},
                 {"valid_share", config.split.valid_share},
                 {"split_seed", config.split.seed}};
  if (config.samples) inputs["samples"] = name_of(config.samples->format);
  return inputs;
}

std::string tokenizer_path(const PrepareConfig& config, json inputs) {
  if (!config.tokenizer_model.empty()) return config.tokenizer_model;
  inputs["tokenizer"] = {{"kind", name_of(config.tokenizer.kind)},
                         {"vocabulary", config.tokenizer.vocabulary},
                         {"max_training_bytes", config.tokenizer.max_training_bytes}};
  return join(config.cache_folder, fmt::format("tokenizer-{}.model", digest_of(inputs)));
}

json token_inputs(const PrepareConfig& config, json inputs, const Tokenizer& tokenizer) {
  inputs["tokenizer"] = to_hex(tokenizer.hash());
  if (config.samples) {
    inputs["chat_template"] = to_hex(hash_of(tokenizer.chat_template()));
    inputs["most_tokens"] = config.samples->most_tokens;
    inputs["truncates"] = config.samples->truncates;
  }
  return inputs;
}

std::string token_folder(const PrepareConfig& config, const json& inputs) {
  return join(config.cache_folder, "tokens-" + digest_of(inputs));
}

PreparedText in_folder(const PrepareConfig& config, const std::string& tokenizer,
                       const std::string& folder) {
  const bool valid = config.split.valid_share > 0;
  return open_prepared(tokenizer, join(folder, "train.h5"), valid ? join(folder, "valid.h5") : "");
}

void count_samples(const TokenFile& file, PreparedText& out) {
  if (!file.has_answers()) return;
  out.answer_tokens += file.answer_tokens();
  out.truncated += file.sample_counts().truncated;
  out.left_out += file.sample_counts().left_out;
}

// Nothing if it is not there; `why` says what is wrong with it if it is.
std::optional<PreparedText> look(const PrepareConfig& config, const std::string& tokenizer,
                                 const std::string& folder, std::string& why) {
  if (!fs::exists(folder)) return std::nullopt;
  try {
    return in_folder(config, tokenizer, folder);
  } catch (const Error& e) {
    why = e.what();
    return std::nullopt;
  }
}

std::unique_ptr<const Tokenizer> load_if_good(const std::string& path) {
  if (!fs::exists(path)) return nullptr;
  try {
    return Tokenizer::load(path);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kData) throw;
    return nullptr;  // damaged: it is trained again
  }
}

// The documents of a source, until somebody asks for a stop.
class UntilStopped final : public DocumentSource {
 public:
  UntilStopped(DocumentSource& documents, const std::function<bool()>& stop_requested)
      : documents_(documents), stop_requested_(stop_requested) {}
  bool next(std::string& document) override {
    if (stop_requested_ && stop_requested_()) throw PreparationStopped();
    return documents_.next(document);
  }
  std::int64_t bytes() const override { return documents_.bytes(); }

 private:
  DocumentSource& documents_;
  const std::function<bool()>& stop_requested_;
};

// The samples of one side.
class SampleSide {
 public:
  SampleSide(const PrepareConfig& config, bool held_out)
      : files_({config.corpus.files, config.samples->format}),
        split_(config.split),
        held_out_(held_out) {}
  bool next(std::vector<ChatMessage>& sample) {
    while (files_.next(sample))
      if (is_held_out(split_, files_.samples() - 1) == held_out_) return true;
    return false;
  }
  const SampleFiles& files() const { return files_; }

 private:
  SampleFiles files_;
  SplitConfig split_;
  bool held_out_;
};

// What is said in the samples to train on, for a tokenizer.
class SampleTexts final : public DocumentSource {
 public:
  explicit SampleTexts(const PrepareConfig& config) : side_(config, /*held_out=*/false) {}
  bool next(std::string& document) override {
    std::vector<ChatMessage> sample;
    if (!side_.next(sample)) return false;
    document.clear();
    for (const ChatMessage& message : sample)
      document += (document.empty() ? "" : "\n") + message.content;
    return true;
  }
  std::int64_t bytes() const override { return side_.files().bytes(); }

 private:
  SampleSide side_;
};

// A preparation at work: what has to be read or made, in this order.
class Preparation {
 public:
  Preparation(const PrepareConfig& config, Say say) : config_(config), say_(std::move(say)) {}

  PreparedText run() {
    FileDigests digests(join(config_.cache_folder, kMemoName));
    const json texts = text_inputs(config_, digests);
    make_folder(config_.cache_folder);
    digests.keep();
    tokenizer_path_ = tokenizer_path(config_, texts);
    const std::unique_ptr<const Tokenizer> tokenizer = tokenizer_of(tokenizer_path_);
    const json inputs = token_inputs(config_, texts, *tokenizer);
    const std::string folder = token_folder(config_, inputs);
    std::string why;
    if (auto found = look(config_, tokenizer_path_, folder, why)) {
      found->was_there = true;
      tell(fmt::format("{}: already prepared", folder));
      return *found;
    }
    if (!why.empty()) tell(fmt::format("{}: made again: {}", folder, why));
    remove_abandoned(config_.cache_folder);
    make_tokens(*tokenizer, inputs, folder);
    return in_folder(config_, tokenizer_path_, folder);
  }

 private:
  void tell(const std::string& line) const {
    if (say_) say_(line);
  }

  static void make_folder(const std::string& folder) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (!failure) return;
    throw Error(kind_of_io_error(failure.value()),
                fmt::format("{}: cannot be made: {}", folder, failure.message()));
  }

  // Opens the text only if something has to be made of it.
  Corpus& corpus() {
    if (!corpus_) {
      corpus_.emplace(config_.corpus);
      plan_ = plan_sides(*corpus_, config_.split);
      if (plan_.tail_from >= 0) {
        tell(
            fmt::format("documents end at a {}, and this text has too few to hold some out: its "
                        "tail is held out instead, {:.3g} % of it",
                        name_of(config_.corpus.document_break), 100 * config_.split.valid_share));
      }
    }
    return *corpus_;
  }

  std::unique_ptr<const Tokenizer> tokenizer_of(const std::string& path) {
    if (!config_.tokenizer_model.empty()) return Tokenizer::load(path);
    if (auto found = load_if_good(path)) return found;
    remove_abandoned(config_.cache_folder);
    tell(fmt::format("{}: training the tokenizer", path));
    const std::unique_ptr<DocumentSource> training = training_texts();
    UntilStopped documents(*training, config_.stop_requested);
    publish_text(path, train_tokenizer(config_.tokenizer, documents));
    std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(path);
    tell(fmt::format("{}: vocabulary of {}", path, tokenizer->vocabulary()));
    return tokenizer;
  }

  std::unique_ptr<DocumentSource> training_texts() {
    if (config_.samples) return std::make_unique<SampleTexts>(config_);
    Corpus& text = corpus();
    return std::make_unique<Side>(text, plan_, /*held_out=*/false);
  }

  void make_tokens(const Tokenizer& tokenizer, const json& inputs, const std::string& folder) {
    const TemporaryFolder mine(folder);
    make_folder(mine.path());
    encode_side(tokenizer, /*held_out=*/false, join(mine.path(), "train.h5"), folder);
    if (config_.split.valid_share > 0) {
      encode_side(tokenizer, /*held_out=*/true, join(mine.path(), "valid.h5"), folder);
    }
    // For people: nothing reads it.
    publish_text(join(mine.path(), "prepared.json"),
                 json{{"inputs", inputs}, {"files", config_.corpus.files}}.dump(2) + "\n");
    publish_tokens(mine.path(), folder);
  }

  void encode_side(const Tokenizer& tokenizer, bool held_out, const std::string& path,
                   const std::string& folder) {
    if (config_.samples) return encode_samples(tokenizer, held_out, path, folder);
    if (tokenizer.eos_id() < 0) {
      throw Error(ErrorKind::kData, fmt::format("{}: the vocabulary has no token for the end of a "
                                                "document (eos)",
                                                tokenizer.path()));
    }
    Side side(corpus(), plan_, held_out);
    UntilStopped documents(side, config_.stop_requested);
    TokenFileWriter out(path, {tokenizer.vocabulary(), tokenizer.hash()});
    const SpecialTokens& special = tokenizer.special();
    std::string document;
    std::vector<std::int32_t> ids;
    while (documents.next(document)) {
      ids = tokenizer.encode(document);
      if (special.adds_bos) ids.insert(ids.begin(), special.bos);
      ids.push_back(special.eos);
      out.add_document(ids);
    }
    check_side(out, held_out);
    out.finish();
    tell(fmt::format("{}: {} {} tokens in {} documents", folder, out.tokens(), side_name(held_out),
                     out.documents()));
  }

  static const char* side_name(bool held_out) { return held_out ? "validation" : "training"; }

  void check_side(const TokenFileWriter& out, bool held_out) const {
    if (out.documents() > 0) return;
    throw Error(ErrorKind::kData,
                fmt::format("a validation share of {} leaves no {} for {} (data.validation_share; "
                            "0 holds nothing out)",
                            config_.split.valid_share, config_.samples ? "samples" : "text",
                            side_name(held_out)));
  }

  void encode_samples(const Tokenizer& tokenizer, bool held_out, const std::string& path,
                      const std::string& folder) {
    SampleSide side(config_, held_out);
    SampleEncoder encoder(tokenizer, *config_.samples);
    TokenFileWriter out(path, {tokenizer.vocabulary(), tokenizer.hash(), /*has_answers=*/true});
    std::vector<ChatMessage> sample;
    while (side.next(sample)) {
      if (config_.stop_requested && config_.stop_requested()) throw PreparationStopped();
      const std::optional<ChatTokens> tokens = encoded(encoder, sample, side.files());
      if (!tokens) continue;
      const std::vector<std::uint8_t> answers(tokens->is_answer.begin(), tokens->is_answer.end());
      out.add_sample(tokens->ids, answers);
    }
    check_side(out, held_out);
    out.finish({encoder.truncated(), encoder.left_out()});
    tell(
        fmt::format("{}: {} {} tokens in {} samples; {} truncated, {} left out, since no answer "
                    "fits",
                    folder, out.tokens(), side_name(held_out), out.documents(), encoder.truncated(),
                    encoder.left_out()));
  }

  static std::optional<ChatTokens> encoded(SampleEncoder& encoder,
                                           const std::vector<ChatMessage>& sample,
                                           const SampleFiles& files) {
    try {
      return encoder.encode(sample);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("{}: {}", files.place(), e.what()));
    }
  }

  // Somebody else may have been faster, with the same content; what is damaged makes room.
  void publish_tokens(const std::string& mine, const std::string& folder) const {
    for (std::string why; !publish_folder(mine, folder);) {
      if (look(config_, tokenizer_path_, folder, why)) return;
      const TemporaryFolder damaged(folder);
      std::error_code taken_away_by_another;
      fs::rename(folder, damaged.path(), taken_away_by_another);
    }
  }

  const PrepareConfig& config_;
  Say say_;
  std::string tokenizer_path_;
  std::optional<Corpus> corpus_;
  SidePlan plan_;
};

}  // namespace

PreparedText prepare_text(const PrepareConfig& config,
                          const std::function<void(const std::string&)>& say) {
  const double share = config.split.valid_share;
  if (!(share >= 0 && share < 1)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("prepare: validation share {}, not in [0, 1)", share));
  }
  return Preparation(config, say).run();
}

std::optional<PreparedText> find_prepared(const PrepareConfig& config) {
  FileDigests digests(join(config.cache_folder, kMemoName));
  const json texts = text_inputs(config, digests);
  const std::string tokenizer_at = tokenizer_path(config, texts);
  const std::unique_ptr<const Tokenizer> tokenizer = load_if_good(tokenizer_at);
  if (!tokenizer) return std::nullopt;
  std::string why;
  auto found = look(config, tokenizer_at,
                    token_folder(config, token_inputs(config, texts, *tokenizer)), why);
  if (found) found->was_there = true;
  return found;
}

PreparedText open_prepared(const std::string& tokenizer_path, const std::string& train_path,
                           const std::string& valid_path) {
  PreparedText out;
  out.tokenizer_path = tokenizer_path;
  out.train_path = train_path;
  out.valid_path = valid_path;
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(tokenizer_path);
  const TokenFile train = TokenFile::open(train_path, tokenizer->hash());
  out.vocabulary = tokenizer->vocabulary();
  out.documents = train.documents();
  out.train_tokens = train.tokens();
  count_samples(train, out);
  if (valid_path.empty()) return out;
  const TokenFile valid = TokenFile::open(valid_path, tokenizer->hash());
  out.documents += valid.documents();
  out.valid_tokens = valid.tokens();
  count_samples(valid, out);
  return out;
}

}  // namespace gradwire
