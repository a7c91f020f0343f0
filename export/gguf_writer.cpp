#include "export/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <type_traits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/gguf.h"

namespace gradwire {
namespace {

constexpr std::size_t kAlignment = 32;

std::uint32_t ggml_type(ElementType type) {
  switch (type) {
    case ElementType::kF32: return 0;
    case ElementType::kF16: return 1;
    case ElementType::kQ4_0: return 2;
    case ElementType::kQ8_0: return 8;
    case ElementType::kBf16: return 30;
    default:
      throw Error(ErrorKind::kUsage,
                  fmt::format("gguf: tensors cannot be written as {}", name_of(type)));
  }
}

std::size_t padding_after(std::size_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append(std::string& out, const std::string& text) {
  append(out, std::uint64_t{text.size()});
  out += text;
}

template <class T>
constexpr GgufType type_of() {
  if constexpr (std::is_same_v<T, bool>) return GgufType::kBool;
  if constexpr (std::is_same_v<T, std::uint32_t>) return GgufType::kU32;
  if constexpr (std::is_same_v<T, std::int32_t>) return GgufType::kI32;
  if constexpr (std::is_same_v<T, float>) return GgufType::kF32;
  if constexpr (std::is_same_v<T, std::string>) return GgufType::kString;
}

// A value as it stands in a file, and its type.
struct Encoded {
  GgufType type, element;
  std::uint64_t count = 1;
  std::string bytes;
};

Encoded encoded(const GgufValueToWrite& value) {
  return std::visit(
      [](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        Encoded out{};
        if constexpr (std::is_same_v<T, std::string> || std::is_arithmetic_v<T>) {
          out = {type_of<T>(), type_of<T>(), 1, {}};
          append(out.bytes, v);
        } else {
          out = {GgufType::kArray, type_of<typename T::value_type>(), v.size(), {}};
          for (const auto& element : v)
            append(out.bytes, element);
        }
        return out;
      },
      value);
}

void check_names(const GgufMetadata& metadata, const std::vector<TensorToWrite>& tensors) {
  constexpr std::size_t kMostName = 63;
  std::set<std::string> keys, names;
  for (const auto& [key, value] : metadata) {
    if (!key.empty() && keys.insert(key).second) continue;
    throw Error(ErrorKind::kUsage, fmt::format("gguf: key '{}' is empty or there twice", key));
  }
  for (const TensorToWrite& t : tensors) {
    if (!t.name.empty() && t.name.size() <= kMostName && names.insert(t.name).second) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("gguf: tensor '{}' has no name, one of more than {} bytes, or one that "
                            "is there twice",
                            t.name, kMostName));
  }
}

std::string header_of(const GgufMetadata& metadata, const std::vector<TensorToWrite>& tensors) {
  constexpr std::uint32_t kVersion = 3;
  std::string out = "GGUF";
  append(out, kVersion);
  append(out, std::uint64_t{tensors.size()});
  append(out, std::uint64_t{metadata.size()});
  for (const auto& [key, value] : metadata) {
    const Encoded as = encoded(value);
    append(out, key);
    append(out, static_cast<std::uint32_t>(as.type));
    if (as.type == GgufType::kArray) {
      append(out, static_cast<std::uint32_t>(as.element));
      append(out, as.count);
    }
    out += as.bytes;
  }
  std::uint64_t offset = 0;
  for (const TensorToWrite& t : tensors) {
    append(out, t.name);
    append(out, static_cast<std::uint32_t>(t.shape.rank()));
    // The fastest dimension comes first.
    const auto dims = t.shape.dims();
    for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim)
      append(out, static_cast<std::uint64_t>(*dim));
    append(out, ggml_type(t.type));
    append(out, offset);
    const auto bytes = static_cast<std::size_t>(encoded_bytes(t));
    offset += bytes + padding_after(bytes);
  }
  out.append(padding_after(out.size()), '\0');
  return out;
}

}  // namespace

void compare_gguf(const std::string& path, const std::string& name, const GgufMetadata& metadata,
                  const std::vector<TensorToWrite>& tensors) {
  const GgufFile file = GgufFile::open(path);
  for (const auto& [key, value] : metadata) {
    const Encoded want = encoded(value);
    const auto found = file.metadata().find(key);
    const bool same = found != file.metadata().end() && found->second.type == want.type &&
                      found->second.element == want.element && found->second.count == want.count &&
                      std::ranges::equal(found->second.bytes, std::as_bytes(std::span(want.bytes)));
    if (!same) {
      throw Error(ErrorKind::kIo, fmt::format("{}: key '{}' is not what was written", name, key));
    }
  }
  if (file.metadata().size() != metadata.size()) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: {} keys, not {}", name, file.metadata().size(), metadata.size()));
  }
  compare_tensors(name, file.tensors(), tensors);
}

void write_gguf(const std::string& path, const GgufMetadata& metadata,
                const std::vector<TensorToWrite>& tensors) {
  check_names(metadata, tensors);
  const std::string header = header_of(metadata, tensors);
  PendingFile file(path);
  std::ofstream out(file.temporary(), std::ios::binary);
  out.write(header.data(), std::ssize(header));
  for (const TensorToWrite& t : tensors) {
    encode_in_parts(t, [&](std::size_t, std::span<const std::byte> part) {
      out.write(reinterpret_cast<const char*>(part.data()), std::ssize(part));
    });
    constexpr char kZeros[kAlignment] = {};
    out.write(kZeros, static_cast<std::streamsize>(
                          padding_after(static_cast<std::size_t>(encoded_bytes(t)))));
  }
  out.close();
  if (!out) throw Error(ErrorKind::kIo, fmt::format("{}: cannot be written", path));
  compare_gguf(file.temporary(), path, metadata, tensors);
  file.publish();
}

}  // namespace gradwire
