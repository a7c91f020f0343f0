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
void copy_files(const fs::path& file, const std::string& to) {
  const TemporaryFolder mine(to);
  fs::create_directories(mine.path());
  const auto copy = [&](const fs::path& from, const char* name) {
    if (!fs::exists(from)) return;
    publish_text((fs::path(mine.path()) / name).string(), read_text(from.string()));
  };
  copy(file, file.extension() == ".json" ? "tokenizer.json" : "vocab.txt");
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"})
    copy(file.parent_path() / name, name);
  publish_folder(mine.path(), to);
}

}  // namespace

void copy_tokenizer(const Tokenizer& tokenizer, const std::string& path) {
  const std::string& file = tokenizer.path();
  if (is_of_several_files(file)) {
    copy_files(file, path);
  } else if (GgufFile::is_gguf(file)) {
    publish_text(path, gguf_vocabulary(GgufFile::open(file)));
  } else {
    publish_text(path, read_text(file));
  }
  if (Tokenizer::load(path)->hash() == tokenizer.hash()) return;
  fs::remove_all(path);
  throw Error(ErrorKind::kData, fmt::format("{}: has changed since it was read", file));
}

}  // namespace gradwire
