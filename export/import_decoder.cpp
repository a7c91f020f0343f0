#include "export/import_decoder.h"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "data/tokenizer.h"
#include "data/tokenizers/copy_tokenizer.h"
#include "export/decoder_export.h"
#include "export/safetensors_writer.h"
#include "models/formats/decoder_format.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

// What a tensor is written as: blocks of quantised values become f32.
ElementType written_type(const ForeignDecoder& source, const std::string& name,
                         std::optional<ElementType> asked) {
  const ElementType stored = source.type_of(name);
  const bool is_plain = layout_of(stored).block_elements == 1 && stored != ElementType::kF64;
  return asked.value_or(is_plain ? stored : ElementType::kF32);
}

void write_weights(const ForeignDecoder& source, const std::string& path,
                   std::optional<ElementType> type) {
  std::vector<std::vector<float>> values;
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, shape] : parameter_shapes(source.config())) {
    values.push_back(source.values(name, shape));
    tensors.push_back({name, written_type(source, name, type), shape, values.back()});
  }
  write_safetensors(path, std::move(tensors));
}

void compare(const std::string& folder, const ForeignDecoder& source, const Tokenizer& tokenizer) {
  const ForeignDecoder copy = ForeignDecoder::open(folder);
  copy.check_tensors();
  const bool same = parameter_shapes(copy.config()) == parameter_shapes(source.config()) &&
                    copy.config().rope_theta == source.config().rope_theta &&
                    copy.config().norm_eps == source.config().norm_eps &&
                    copy.config().heads == source.config().heads;
  if (same && Tokenizer::load(folder)->hash() == tokenizer.hash()) return;
  throw Error(ErrorKind::kIo, fmt::format("{}: what is read back differs", folder));
}

}  // namespace

std::string import_decoder(const std::string& source, const std::string& out,
                           std::optional<ElementType> type) {
  if (fs::exists(out)) throw Error(ErrorKind::kConfig, fmt::format("{}: exists already", out));
  const ForeignDecoder model = ForeignDecoder::open(source);
  model.check_tensors();
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(source);
  if (tokenizer->vocabulary() > model.config().vocab) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: a vocabulary of {} tokens, but the model has {}",
                            tokenizer->path(), tokenizer->vocabulary(), model.config().vocab));
  }
  const TemporaryFolder mine(out);
  fs::create_directories(mine.path());
  const auto in_mine = [&](const char* name) { return (fs::path(mine.path()) / name).string(); };
  const ElementType of_table = written_type(model, "model.embed_tokens.weight", type);
  for (const auto& [name, text] :
       hugging_face_configs(model.config(), tokenizer->special(), model.context(), of_table)) {
    publish_text(in_mine(name.c_str()), text);
  }
  add_tokenizer(*tokenizer, mine.path());
  write_weights(model, in_mine("model.safetensors"), type);
  compare(mine.path(), model, *tokenizer);
  if (!publish_folder(mine.path(), out)) {
    throw Error(ErrorKind::kConfig, fmt::format("{}: exists already", out));
  }
  return fmt::format("{}: {} parameters and a vocabulary of {}, read back and compared", out,
                     parameter_count(model.config()), tokenizer->vocabulary());
}

}  // namespace gradwire
