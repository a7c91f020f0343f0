// The manifest of a checkpoint, as it is and with a checksum made to fit it.
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "tests/fuzz/harness.h"
#include "train/checkpoint/manifest.h"

namespace {

void read(const std::string& text) {
  const gradwire::Manifest manifest = gradwire::parse_manifest(text);
  gradwire::slice_problems(manifest);
  if (gradwire::parse_manifest(gradwire::to_text(manifest)).entries.size() !=
      manifest.entries.size())
    std::abort();
}

std::string sealed(std::string_view text) {
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth < 64;
  };
  nlohmann::json j = nlohmann::json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!j.is_object()) return "";
  j.erase("xxh3");
  const auto replace = nlohmann::json::error_handler_t::replace;
  std::string text = j.dump(-1, ' ', false, replace);
  text.back() = ',';
  text += '\n';
  return text + fmt::format("\"xxh3\":\"{:016x}\"}}\n", gradwire::hash_of(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return gradwire::fuzz::run(data, size, [](std::string_view bytes) {
    const std::string text = sealed(bytes);
    read(text.empty() ? std::string(bytes) : text);
  });
}
