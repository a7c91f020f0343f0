#include "data/sample_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace gradwire {
namespace {

using nlohmann::json;

constexpr const char* kPrompt = "prompt";
constexpr const char* kCompletion = "completion";

// Why a line is no sample.
struct Refusal {
  std::string why;
};

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) throw Refusal{fmt::format("no \"{}\" in it", key)};
  if (!found->is_string()) throw Refusal{fmt::format("\"{}\" is no text", key)};
  std::string text = found->get<std::string>();
  if (text.find('\0') != std::string::npos) {
    throw Refusal{fmt::format("a zero byte in \"{}\"", key)};
  }
  return text;
}

std::vector<ChatMessage> prompt_and_completion(const json& object) {
  std::vector<ChatMessage> sample{{kPrompt, text_of(object, kPrompt)},
                                  {kCompletion, text_of(object, kCompletion)}};
  if (sample.back().content.empty()) throw Refusal{"\"completion\" is empty"};
  return sample;
}

std::vector<ChatMessage> conversation(const json& object) {
  const auto messages = object.find("messages");
  if (messages == object.end()) throw Refusal{"no \"messages\" in it"};
  if (!messages->is_array()) throw Refusal{"\"messages\" is no list"};
  std::vector<ChatMessage> sample;
  bool has_answer = false;
  for (const json& message : *messages) {
    if (!message.is_object()) {
      throw Refusal{fmt::format("message {} is no object", sample.size() + 1)};
    }
    sample.push_back({text_of(message, "role"), text_of(message, "content")});
    has_answer = has_answer || sample.back().role == "assistant";
  }
  if (!has_answer) throw Refusal{"no message of the role \"assistant\", so no answer to learn"};
  return sample;
}

}  // namespace

const char* name_of(SampleFormat format) {
  return format == SampleFormat::kChat ? "chat" : "prompt_completion";
}

SampleFiles::SampleFiles(SampleFilesConfig config) : config_(std::move(config)) {
  check(!config_.files.empty(), ErrorKind::kUsage, "samples: no files named");
  for (const std::string& path : config_.files) {
    std::error_code failure;
    const std::uintmax_t size = std::filesystem::file_size(path, failure);
    const std::ifstream probe(path);
    if (failure || !probe) {
      throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read: {}", path,
                                              failure ? failure.message() : std::strerror(errno)));
    }
    bytes_ += static_cast<std::int64_t>(size);
  }
}

void SampleFiles::rewind() {
  in_ = std::ifstream();
  file_ = 0;
  samples_ = 0;
}

std::string SampleFiles::place() const {
  return fmt::format("{}:{}", config_.files[file_ - 1], line_);
}

void SampleFiles::refuse(const std::string& why) const {
  throw Error(ErrorKind::kData, fmt::format("{}: {}", place(), why));
}

bool SampleFiles::open_next() {
  if (file_ > 0 && samples_of_file_ == 0) {
    throw Error(ErrorKind::kData, fmt::format("{}: no sample in it", config_.files[file_ - 1]));
  }
  if (file_ == config_.files.size()) return false;
  in_ = std::ifstream(config_.files[file_], std::ios::binary);
  if (!in_) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be read: {}", config_.files[file_], std::strerror(errno)));
  }
  ++file_;
  line_ = 0;
  samples_of_file_ = 0;
  return true;
}

bool SampleFiles::read_line(std::string& line) {
  if (!in_.is_open()) return false;
  if (!next_line(in_, line, static_cast<std::size_t>(config_.max_line_bytes))) {
    if (!in_.bad()) return false;
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be read: {}", place(), std::strerror(errno)));
  }
  if (++line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  if (std::ssize(line) > config_.max_line_bytes) {
    refuse(fmt::format("a line of more than {} bytes", config_.max_line_bytes));
  }
  return true;
}

std::vector<ChatMessage> SampleFiles::parsed(const std::string& line) const {
  try {
    const json object = json::parse(line);
    if (!object.is_object()) throw Refusal{"no JSON object"};
    return config_.format == SampleFormat::kChat ? conversation(object)
                                                 : prompt_and_completion(object);
  } catch (const json::parse_error& e) {
    refuse(fmt::format("no JSON from byte {} on", e.byte));
  } catch (const Refusal& e) {
    refuse(e.why);
  }
}

bool SampleFiles::next(std::vector<ChatMessage>& sample) {
  for (;;) {
    if (!read_line(line_text_)) {
      if (!open_next()) return false;
      continue;
    }
    if (line_text_.find_first_not_of(" \t\r") == std::string::npos) continue;
    sample = parsed(line_text_);
    ++samples_;
    ++samples_of_file_;
    return true;
  }
}

}  // namespace gradwire
