#include "data/file_digests.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"

namespace gradwire {
namespace {

using nlohmann::json;

double seconds(const timespec& t) {
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct stat stat_of(const std::string& path) {
  struct stat now {};
  if (::stat(path.c_str(), &now) == 0) return now;
  throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
}

std::string state_of(const struct stat& s) {
  return fmt::format("{} bytes, inode {} of {}, modified {}.{:09}, changed {}.{:09}", s.st_size,
                     s.st_ino, s.st_dev, s.st_mtim.tv_sec, s.st_mtim.tv_nsec, s.st_ctim.tv_sec,
                     s.st_ctim.tv_nsec);
}

std::string text_or_nothing(const std::string& path) {
  try {
    return read_text(path);
  } catch (const Error&) {
    return "";  // a memo that is not there, or of no use
  }
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

FileDigests::FileDigests(std::string memo, double settle_s)
    : memo_(std::move(memo)), settle_s_(settle_s) {
  const json all = json::parse(text_or_nothing(memo_), nullptr, /*allow_exceptions=*/false);
  if (!all.is_object()) return;
  for (const auto& [path, entry] : all.items()) {
    if (entry.is_object() && entry.contains("state") && entry["state"].is_string() &&
        entry.contains("xxh3") && entry["xxh3"].is_string()) {
      known_[path] = {entry["state"].get<std::string>(), entry["xxh3"].get<std::string>()};
    }
  }
}

std::string FileDigests::digest(const std::string& path) {
  const struct stat before = stat_of(path);
  const std::string name = std::filesystem::absolute(path).lexically_normal().string();
  const auto found = known_.find(name);
  if (found != known_.end() && found->second.state == state_of(before)) {
    return found->second.digest;
  }
  const double begun = now_s();
  std::string digest = to_hex(hash_of_file(path));
  ++files_read_;
  const double changed = std::max(seconds(before.st_mtim), seconds(before.st_ctim));
  if (begun - changed >= settle_s_ && state_of(stat_of(path)) == state_of(before)) {
    known_[name] = {state_of(before), digest};
    has_news_ = true;
  }
  return digest;
}

void FileDigests::keep() const noexcept {
  if (!has_news_) return;
  try {
    json all = json::object();
    for (const auto& [path, known] : known_)
      all[path] = {{"state", known.state}, {"xxh3", known.digest}};
    publish_text(memo_, all.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  } catch (const std::exception&) {  // the next start reads the files again
  }
}

}  // namespace gradwire
