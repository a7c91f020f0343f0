// File operations that checkpoints are made of, each with an error that names file and cause, and
// each announced to a hook first: a test dies or fails there, at every one of them in turn. Nothing
// here knows what a checkpoint holds.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

// Called before every file operation of a save; may throw, which counts as the operation's failure.
using FileHook = std::function<void(std::string_view operation, const std::string& path)>;

class CheckpointFiles {
 public:
  explicit CheckpointFiles(FileHook hook = {}) : hook_(std::move(hook)) {}

  // Says that an operation is about to happen.
  void announce(std::string_view operation, const std::string& path) const;

  // Errors of all: kIo.
  void make_dir(const std::string& path) const;  // parents too; there already is no error
  void write_text(const std::string& path, const std::string& text) const;  // and fsync
  void sync(const std::string& path) const;                                 // of a file or a folder
  // Gives a folder its final name. A folder that has it already is exchanged in the same moment
  // where the file system can, and otherwise moved to a .trash- name just before.
  void publish(const std::string& from, const std::string& to) const;
  // Renames to a .trash- name, then deletes: what is half deleted never looks like a checkpoint.
  void discard(const std::string& path) const;

 private:
  // False where the file system cannot.
  bool exchange(const std::string& from, const std::string& to) const;

  FileHook hook_;
};

struct FileDigest {
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;
};
FileDigest digest_file(const std::string& path);  // Errors: kIo
// Error(kIo) beyond `limit` bytes or where it cannot be read.
std::string read_text(const std::string& path, std::uint64_t limit);
std::vector<std::string> names_in(
    const std::string& dir);  // sorted; empty where there is no folder

// step-00001200 and back; anything else is no checkpoint.
std::string step_name(std::int64_t step);
std::optional<std::int64_t> step_of(std::string_view name);
std::string shard_name(int rank);  // rank-00003.h5

inline constexpr std::string_view kManifestName = "manifest.json";
inline constexpr std::string_view kTrashPrefix = ".trash-";
inline constexpr std::string_view kUnfinishedMark = ".tmp-";

}  // namespace gradwire
