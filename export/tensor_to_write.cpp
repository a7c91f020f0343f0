#include "export/tensor_to_write.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "core/weight_files/blocks.h"

namespace gradwire {
namespace {

void compare_bytes(const std::string& path, const StoredTensor& found, const TensorToWrite& t) {
  encode_in_parts(t, [&](std::size_t at, std::span<const std::byte> part) {
    if (at + part.size() <= found.bytes.size() &&
        std::memcmp(found.bytes.data() + at, part.data(), part.size()) == 0)
      return;
    throw Error(ErrorKind::kIo,
                fmt::format("{}: tensor '{}' reads back other than it was written", path, t.name));
  });
}

}  // namespace

std::int64_t encoded_bytes(const TensorToWrite& t) {
  const auto bytes = size_in_bytes(t.type, t.shape.dims());
  if (t.shape.numel() != std::ssize(t.values)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("'{}' {} of {} with {} values cannot be written", t.name,
                            to_string(t.shape), name_of(t.type), t.values.size()));
  }
  if (!bytes) {
    throw Error(
        ErrorKind::kData,
        fmt::format("tensor '{}' {} cannot be written as {}: its rows are not whole blocks "
                    "of {}",
                    t.name, to_string(t.shape), name_of(t.type), layout_of(t.type).block_elements));
  }
  return *bytes;
}

void encode_in_parts(const TensorToWrite& t,
                     const std::function<void(std::size_t, std::span<const std::byte>)>& use) {
  constexpr std::size_t kPart = std::size_t{1} << 18;  // whole blocks of every type
  const ElementLayout layout = layout_of(t.type);
  std::vector<std::byte> part;
  std::size_t at = 0;
  for (std::size_t begin = 0; begin < t.values.size(); begin += kPart) {
    const auto values = t.values.subspan(begin, std::min(kPart, t.values.size() - begin));
    part.resize(values.size() / static_cast<std::size_t>(layout.block_elements) *
                static_cast<std::size_t>(layout.block_bytes));
    try {
      encode(t.type, values, part);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("tensor '{}': {}", t.name, e.what()));
    }
    use(at, part);
    at += part.size();
  }
}

void compare_tensors(const std::string& path, const StoredTensors& found,
                     std::span<const TensorToWrite> wanted) {
  for (const TensorToWrite& t : wanted) {
    const auto at = found.find(t.name);
    if (at == found.end()) {
      throw Error(ErrorKind::kIo, fmt::format("{}: tensor '{}' is missing", path, t.name));
    }
    if (at->second.type != t.type || at->second.shape != t.shape) {
      throw Error(ErrorKind::kIo,
                  fmt::format("{}: tensor '{}' is {} of {}, not {} of {}", path, t.name,
                              to_string(at->second.shape), name_of(at->second.type),
                              to_string(t.shape), name_of(t.type)));
    }
    compare_bytes(path, at->second, t);
  }
  if (found.size() == wanted.size()) return;
  for (const auto& [name, tensor] : found) {
    if (std::ranges::find(wanted, name, &TensorToWrite::name) != wanted.end()) continue;
    throw Error(ErrorKind::kIo,
                fmt::format("{}: tensor '{}' is one too many", path, printable_word(name, 128)));
  }
}

}  // namespace gradwire
