#include "launch/run_data.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "comm/sockets.h"
#include "core/error.h"
#include "core/hash.h"
#include "launch/same_run.h"
#include "train/checkpoint_manifest.h"
#include "train/together.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A run's checkpoints lie in RUN/checkpoints/, or in RUN/checkpoints/aside-<time>/.
constexpr int kFoldersUp = 3;

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
  return (fs::path(recipe.run.dir) / "data.json").string();
}

json text_settings(const Recipe& recipe) {
  return {{"text", recipe.data.text},
          {"validation_share", recipe.data.validation_share},
          {"split_seed", recipe.data.split_seed}};
}

// What keep_data() has kept, or null.
json record_of(const Recipe& recipe) {
  if (!fs::exists(record_path(recipe))) return nullptr;
  const json record = json::parse(read_text(record_path(recipe)), nullptr, false);
  return record.is_object() && record.contains("settings") ? record : nullptr;
}

PreparedText kept_text(const Recipe& recipe, const std::string& tokenizer) {
  const json record = record_of(recipe);
  if (record.is_null() || record["settings"] != text_settings(recipe) || tokenizer.empty()) {
    throw Error(ErrorKind::kData, fmt::format("{}: no such text, and {} has not been trained on it",
                                              fmt::join(recipe.data.text, ", "), recipe.run.dir));
  }
  return open_prepared(tokenizer, record.value("train", ""), record.value("valid", ""));
}

bool is_there(const std::string& path) {
  return fs::exists(path);
}

}  // namespace

std::string keep_data(const Recipe& recipe, const TokenData& data) {
  const fs::path copy = fs::path(recipe.run.dir) / copy_name(data.tokenizer.hash());
  if (!fs::exists(copy)) publish_text(copy.string(), read_text(data.tokenizer.path()));
  const json before = record_of(recipe);
  const json record = {{"settings", text_settings(recipe)},
                       {"digest", data_identity(data)},
                       {"train", fs::absolute(data.train.path()).string()},
                       {"valid", data.valid ? fs::absolute(data.valid->path()).string() : ""}};
  if (record == before) return "";
  publish_text(record_path(recipe), record.dump(2) + "\n");
  const bool other = !before.is_null() && before.value("digest", "") != data_identity(data);
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

PreparedText RunText::find(const Recipe& recipe, const std::string& tokenizer) {
  PrepareConfig config = prepare_config(recipe);
  config.tokenizer_model = tokenizer;
  if (!std::ranges::all_of(config.corpus.files, is_there)) return kept_text(recipe, tokenizer);
  if (auto found = find_prepared(config)) return *found;
  made_.emplace((fs::temp_directory_path() / "gradwire-text").string());
  config.cache_folder = made_->path();
  return prepare_text(config);
}

RunText::RunText(Session& session, const std::vector<std::string>& checkpoints) {
  std::string tokenizer;
  together(session.ranks(), [&] {
    if (session.is_first()) tokenizer = kept_tokenizer(checkpoints);
  });
  tokenizer = session.ranks().all_gather(tokenizer).front();
  // Once on every host: what is made is for its ranks alone.
  const bool looks = session.env().local_rank == 0;
  together(session.ranks(), [&] {
    if (looks) prepared_ = find(session.recipe(), tokenizer);
  });
  const std::vector<std::string> all = session.ranks().all_gather(
      fmt::format("{}\n{}\n{}\n{}\n{}\n", host_name(), looks, prepared_.tokenizer_path,
                  prepared_.train_path, prepared_.valid_path));
  together(session.ranks(), [&] {
    if (looks) return;
    for (const std::string& text : all) {
      const std::vector<std::string> found = lines_of(text);
      if (found[0] == host_name() && found[1] == "true")
        prepared_ = open_prepared(found[2], found[3], found[4]);
    }
  });
  check_same_data(session.ranks(), prepared_);
}

Tokenizer run_tokenizer(Session& session, const std::vector<std::string>& checkpoints) {
  std::string path;
  together(session.ranks(), [&] {
    if (session.is_first()) path = kept_tokenizer(checkpoints);
  });
  path = session.ranks().all_gather(path).front();
  std::optional<RunText> text;
  if (path.empty()) path = text.emplace(session, checkpoints).prepared().tokenizer_path;
  std::optional<Tokenizer> tokenizer;
  together(session.ranks(), [&] { tokenizer.emplace(Tokenizer::load(path)); });
  return std::move(*tokenizer);
}

}  // namespace gradwire
