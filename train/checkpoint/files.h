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

// Called before every file operation; may throw, which counts as the operation's failure.
using FileHook = std::function<void(std::string_view operation, const std::string& path)>;

struct FileDigest {
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;
};

class CheckpointFiles {
 public:
  explicit CheckpointFiles(FileHook hook = {}) : hook_(std::move(hook)) {}

  // Says that an operation is about to happen.
  void announce(std::string_view operation, const std::string& path) const;

  // Errors of all that write: kIo.
  // There already is no error. Errors: kConfig too, if this user may not (core/io_error.h).
  void make_dir(const std::string& path) const;
  // With the parents that are missing, each of them synced into its own parent.
  void make_durable_dirs(const std::string& path) const;
  void write_text(const std::string& path, const std::string& text) const;  // and fsync
  void sync(const std::string& path) const;                                 // of a file or a folder
  void move(const std::string& from, const std::string& to) const;
  // Gives a folder its final name. A folder that has it already is exchanged in the same moment
  // if the file system can do that; otherwise it first gets a kReplacedMark name, under which lists
  // of checkpoints still count it. Gives where that folder is now, or nothing; it is the caller's
  // to discard once the new name is synced.
  std::string publish(const std::string& from, const std::string& to) const;
  // Renames to a .trash- name, then deletes: what is half deleted never looks like a checkpoint.
  void discard(const std::string& path) const;

  // The functions below, announced as "list" and "read".
  std::vector<std::string> names_in(const std::string& dir) const;
  // Errors: also kCheckpoint beyond `limit` bytes.
  std::string read_text(const std::string& path, std::uint64_t limit) const;
  FileDigest digest(const std::string& path) const;
  std::optional<std::uint64_t> size(const std::string& path) const;

 private:
  // False if the file system cannot.
  bool exchange(const std::string& from, const std::string& to) const;

  FileHook hook_;
};

// Reading tells two kinds of failure apart. What is not there, or is not what it should be, is
// damage: kCheckpoint. Anything else (EIO, ESTALE, EACCES) may pass, and is kIo: it must never be
// taken for the absence of a checkpoint.
FileDigest digest_file(const std::string& path);
// Bytes, or nothing if there is no such file.
std::optional<std::uint64_t> file_size(const std::string& path);
// Sorted; empty if there is no such folder. Errors: kIo for whatever else keeps it from being read.
std::vector<std::string> names_in(const std::string& dir);

// step-00001200 and back; anything else is no checkpoint.
std::string step_name(std::int64_t step);
std::optional<std::int64_t> step_of(std::string_view name);
// The same of a checkpoint that was set aside while another of its step took its name.
std::optional<std::int64_t> replaced_step_of(std::string_view name);
std::string shard_name(int rank);  // rank-00003.h5

inline constexpr std::string_view kManifestName = "manifest.json";
inline constexpr std::string_view kBestName = "best";  // in a path: the best checkpoint of a folder
inline constexpr std::string_view kTrashPrefix = ".trash-";
inline constexpr std::string_view kUnfinishedMark = ".tmp-";
inline constexpr std::string_view kReplacedMark = ".replaced-";

}  // namespace gradwire
