#include "jobs/language_model/run_data.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/host_name.h"
#include "data/tokenizers/copy_tokenizer.h"
#include "train/checkpoint/manifest.h"
#include "train/run_on_all_ranks.h"

#include "jobs/language_model/prepared_text.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const TextRecipe& text_of(const Recipe& recipe) {
  return language_model_of(recipe).data;
}

// A run's checkpoints lie in RUN/checkpoints/, or in RUN/checkpoints/aside-<time>/.
constexpr int kFoldersUp = 3;

constexpr const char* kRecord = "data.json";

std::string copy_name(std::uint64_t hash) {
  return fmt::format("tokenizer-{}.model", to_hex(hash));
}

std::string copy_near(const std::string& checkpoint, const std::string& name) {
  fs::path folder = fs::absolute(checkpoint).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // a trailing slash
  for (int i = 0; i < kFoldersUp; ++i) {
    folder = folder.parent_path();
    if (fs::exists(folder / name)) return (folder / name).string();
  }
  return "";
}

std::string record_path(const Recipe& recipe) {
  return (fs::path(recipe.run.dir) / kRecord).string();
}

json text_settings(const Recipe& recipe) {
  const TextRecipe& text = text_of(recipe);
  json settings = {{"text", text.text},
                   {"validation_share", text.validation_share},
                   {"split_seed", text.split_seed}};
  if (text.has_samples()) {
    settings["format"] = text.format;
    settings["context"] = text.context;
    settings["too_long"] = text.too_long;
  }
  return settings;
}

// What keep_text() has kept, or null.
json record_of(const Recipe& recipe) {
  if (!fs::exists(record_path(recipe))) return nullptr;
  const json record = json::parse(read_text(record_path(recipe)), nullptr, false);
  const auto is_text = [&](const char* key) {
    return record.contains(key) && record[key].is_string();
  };
  const bool whole = record.is_object() && record.contains("settings") && is_text("digest") &&
                     is_text("train") && is_text("valid");
  return whole ? record : nullptr;
}

PreparedText kept_text(const Recipe& recipe, const std::string& tokenizer) {
  const json record = record_of(recipe);
  if (record.is_null() || record["settings"] != text_settings(recipe) || tokenizer.empty()) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: no such text, and {} has not been trained on it",
                            fmt::join(text_of(recipe).text, ", "), recipe.run.dir));
  }
  return open_prepared(tokenizer, record.value("train", ""), record.value("valid", ""));
}

bool is_there(const std::string& path) {
  return fs::exists(path);
}

}  // namespace

std::string keep_text(const Recipe& recipe, const TokenData& data) {
  const fs::path copy = fs::path(recipe.run.dir) / copy_name(data.tokenizer->hash());
  if (!fs::exists(copy)) copy_tokenizer(*data.tokenizer, copy.string());
  const json before = record_of(recipe);
  const json record = {{"settings", text_settings(recipe)},
                       {"digest", tokens_identity(data)},
                       {"train", fs::absolute(data.train.path()).string()},
                       {"valid", data.valid ? fs::absolute(data.valid->path()).string() : ""}};
  if (record == before) return "";
  publish_text(record_path(recipe), record.dump(2) + "\n");
  const bool other = !before.is_null() && before.value("digest", "") != tokens_identity(data);
  return other ? "the text, its split or its tokens are not those of the last start" : "";
}

std::string kept_tokenizer(const std::vector<std::string>& checkpoints) {
  for (const std::string& checkpoint : checkpoints) {
    try {
      const auto hash = tokenizer_hash_in(read_manifest(checkpoint).model);
      return hash ? copy_near(checkpoint, copy_name(*hash)) : "";
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kCheckpoint) throw;  // damaged: the next one may say it
    }
  }
  return "";
}

std::string kept_data_digest(const std::string& checkpoint) {
  const std::string path = copy_near(checkpoint, kRecord);
  if (path.empty()) return "";
  const json record = json::parse(read_text(path), nullptr, false);
  const bool is_there =
      record.is_object() && record.contains("digest") && record["digest"].is_string();
  return is_there ? record["digest"].get<std::string>() : "";
}

PreparedText RunText::find(const Recipe& recipe, const std::string& tokenizer) {
  PrepareConfig config = prepare_config(recipe);
  if (!tokenizer.empty()) config.tokenizer_model = tokenizer;
  if (!std::ranges::all_of(config.corpus.files, is_there)) {
    return kept_text(recipe, config.tokenizer_model);
  }
  if (auto found = find_prepared(config)) return *found;
  made_.emplace((fs::temp_directory_path() / "gradwire-text").string());
  config.cache_folder = made_->path();
  return prepare_text(config);
}

RunText::RunText(JobHost& host, const Recipe& recipe, const std::vector<std::string>& checkpoints) {
  std::string tokenizer;
  run_on_all_ranks(host.ranks, [&] {
    if (host.is_first()) tokenizer = kept_tokenizer(checkpoints);
  });
  tokenizer = host.ranks.all_gather(tokenizer).front();
  // Once on every host: what is made is for its ranks alone.
  const bool looks = host.local_rank == 0;
  run_on_all_ranks(host.ranks, [&] {
    if (looks) prepared_ = find(recipe, tokenizer);
  });
  const std::vector<std::string> all = host.ranks.all_gather(
      fmt::format("{}\n{}\n{}\n{}\n{}\n", host_name(), looks, prepared_.tokenizer_path,
                  prepared_.train_path, prepared_.valid_path));
  run_on_all_ranks(host.ranks, [&] {
    if (looks) return;
    for (const std::string& text : all) {
      const std::vector<std::string> found = lines_of(text);
      if (found[0] == host_name() && found[1] == "true")
        prepared_ = open_prepared(found[2], found[3], found[4]);
    }
  });
  check_same_data(host.ranks, prepared_);
}

std::unique_ptr<const Tokenizer> run_tokenizer(JobHost& host, const Recipe& recipe,
                                               const std::vector<std::string>& checkpoints) {
  std::string path;
  run_on_all_ranks(host.ranks, [&] {
    if (host.is_first()) path = kept_tokenizer(checkpoints);
  });
  path = host.ranks.all_gather(path).front();
  if (path.empty()) path = language_model_of(recipe).model.from;
  std::optional<RunText> text;
  if (path.empty()) path = text.emplace(host, recipe, checkpoints).prepared().tokenizer_path;
  std::unique_ptr<const Tokenizer> tokenizer;
  run_on_all_ranks(host.ranks, [&] { tokenizer = Tokenizer::load(path); });
  return tokenizer;
}

}  // namespace gradwire
