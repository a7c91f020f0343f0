#include "export/export_folder.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/safetensors.h"
#include "export/safetensors_writer.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

std::string in(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

std::string without_slash(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).string();
}

void write_files(const std::string& folder, const ExportContents& contents) {
  for (const SmallFiles* files : {&contents.files, &contents.notes})
    for (const auto& [name, text] : *files)
      publish_text(in(folder, name), text);
  for (const ExportedSafetensors& s : contents.safetensors)
    write_safetensors_folder(folder, s.stem, s.content.tensors);
  for (const ExportedGguf& g : contents.gguf)
    write_gguf(in(folder, g.name), g.metadata, g.content.tensors);
}

void compare_files(const std::string& folder, const ExportContents& contents) {
  for (const auto& [name, text] : contents.files) {
    if (read_text(in(folder, name)) == text) continue;
    throw Error(ErrorKind::kData,
                fmt::format("{}: is not what this checkpoint gives", in(folder, name)));
  }
  for (const ExportedSafetensors& s : contents.safetensors)
    compare_tensors(folder, read_safetensors_folder(folder, s.stem), s.content.tensors);
  for (const ExportedGguf& g : contents.gguf)
    compare_gguf(in(folder, g.name), in(folder, g.name), g.metadata, g.content.tensors);
}

}  // namespace

void check_export_target(const std::string& folder) {
  std::error_code failure;
  const fs::path path = without_slash(folder);
  if (path.empty() || fs::symlink_status(path, failure).type() != fs::file_type::not_found) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: is there already; give --out a new folder", folder));
  }
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::is_directory(parent, failure)) {
    throw Error(ErrorKind::kUsage, fmt::format("{}: no such folder", parent.string()));
  }
}

void write_export(const std::string& folder, const ExportContents& contents) {
  check_export_target(folder);
  const std::string target = without_slash(folder);
  const TemporaryFolder making(target);
  std::error_code failure;
  if (!fs::create_directory(making.path(), failure)) {
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be made: {}", folder, failure.message()));
  }
  write_files(making.path(), contents);
  if (publish_folder(making.path(), target)) return;
  throw Error(ErrorKind::kUsage, fmt::format("{}: came into being meanwhile", folder));
}

void verify_export(const std::string& folder, const ExportContents& contents) {
  try {
    compare_files(folder, contents);
  } catch (const Error& e) {
    // What cannot be read, or reads back otherwise, is no failure of the disk here.
    throw Error(ErrorKind::kData, e.what());
  }
}

}  // namespace gradwire
