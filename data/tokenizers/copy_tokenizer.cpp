#include "data/tokenizers/copy_tokenizer.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/gguf.h"
#include "data/tokenizers/gguf_tokenizer.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

bool is_of_several_files(const fs::path& file) {
  return file.extension() == ".json" || file.filename() == "vocab.txt";
}

// tokenizer_settings.h says what is read beside the file itself.
void copy_files(const fs::path& file, const std::string& folder) {
  const auto copy = [&](const fs::path& from, const char* name) {
    if (!fs::exists(from)) return;
    publish_text((fs::path(folder) / name).string(), read_text(from.string()));
  };
  copy(file, file.extension() == ".json" ? "tokenizer.json" : "vocab.txt");
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"})
    copy(file.parent_path() / name, name);
}

std::string text_of_single(const std::string& file) {
  return GgufFile::is_gguf(file) ? gguf_vocabulary(GgufFile::open(file)) : read_text(file);
}

}  // namespace

void copy_tokenizer(const Tokenizer& tokenizer, const std::string& path) {
  const std::string& file = tokenizer.path();
  if (is_of_several_files(file)) {
    const TemporaryFolder mine(path);
    fs::create_directories(mine.path());
    copy_files(file, mine.path());
    publish_folder(mine.path(), path);
  } else {
    publish_text(path, text_of_single(file));
  }
  if (Tokenizer::load(path)->hash() == tokenizer.hash()) return;
  fs::remove_all(path);
  throw Error(ErrorKind::kData, fmt::format("{}: has changed since it was read", file));
}

void add_tokenizer(const Tokenizer& tokenizer, const std::string& folder) {
  const std::string& file = tokenizer.path();
  if (is_of_several_files(file)) return copy_files(file, folder);
  const char* name = GgufFile::is_gguf(file) ? "tokenizer.gguf" : "tokenizer.model";
  publish_text((fs::path(folder) / name).string(), text_of_single(file));
}

}  // namespace gradwire
