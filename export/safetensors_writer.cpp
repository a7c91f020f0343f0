#include "export/safetensors_writer.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/blocks.h"
#include "core/weight_files/safetensors.h"

namespace gradwire {
namespace {

std::int64_t bytes_of(const TensorToWrite& t) {
  const bool known =
      t.type == ElementType::kF32 || t.type == ElementType::kF16 || t.type == ElementType::kBf16;
  if (!known || t.name.empty() || t.name == "__metadata__" ||
      t.shape.numel() != std::ssize(t.values)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("safetensors: '{}' {} of {} with {} values cannot be written", t.name,
                            to_string(t.shape), name_of(t.type), t.values.size()));
  }
  return std::ssize(t.values) * layout_of(t.type).block_bytes;
}

void put_in_order(std::vector<TensorToWrite>& tensors) {
  const auto place = [](const TensorToWrite& t) {
    return std::tuple(-layout_of(t.type).block_bytes, t.type, std::string_view(t.name));
  };
  std::sort(tensors.begin(), tensors.end(),
            [&](const TensorToWrite& a, const TensorToWrite& b) { return place(a) < place(b); });
}

std::string header_of(std::span<const TensorToWrite> tensors,
                      const std::map<std::string, std::string>& metadata) {
  constexpr std::size_t kAlignment = 64;
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t begin = 0;
  for (const TensorToWrite& t : tensors) {
    const std::int64_t end = begin + bytes_of(t);
    if (header.contains(t.name)) {
      throw Error(ErrorKind::kUsage, fmt::format("safetensors: two tensors '{}'", t.name));
    }
    const std::span<const std::int64_t> dims = t.shape.dims();
    header[t.name] = {{"dtype", name_of(t.type)},
                      {"shape", std::vector(dims.begin(), dims.end())},
                      {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  const std::size_t whole = sizeof(std::uint64_t) + text.size();
  text.append((kAlignment - whole % kAlignment) % kAlignment, ' ');
  return text;
}

// Calls use(bytes) with the encoded tensor, a part at a time.
template <class Use>
void encode_in_parts(const TensorToWrite& t, const Use& use) {
  constexpr std::size_t kPart = std::size_t{1} << 18;
  const auto element = static_cast<std::size_t>(layout_of(t.type).block_bytes);
  std::vector<std::byte> part;
  for (std::size_t begin = 0; begin < t.values.size(); begin += kPart) {
    const auto values = t.values.subspan(begin, std::min(kPart, t.values.size() - begin));
    part.resize(values.size() * element);
    try {
      encode(t.type, values, part);
    } catch (const Error& e) {
      throw Error(e.kind(), fmt::format("tensor '{}': {}", t.name, e.what()));
    }
    use(begin * element, part);
  }
}

void write_file(const PendingFile& file, const std::string& header,
                std::span<const TensorToWrite> tensors) {
  std::ofstream out(file.temporary(), std::ios::binary);
  const std::uint64_t length = header.size();
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const TensorToWrite& t : tensors) {
    encode_in_parts(t, [&](std::size_t, std::span<const std::byte> part) {
      out.write(reinterpret_cast<const char*>(part.data()),
                static_cast<std::streamsize>(part.size()));
    });
  }
  out.close();
  if (!out) throw Error(ErrorKind::kIo, fmt::format("{}: cannot be written", file.path()));
}

void compare(const PendingFile& file, std::span<const TensorToWrite> tensors) {
  const StoredTensors found = read_safetensors(file.temporary()).tensors;
  for (const TensorToWrite& t : tensors) {
    const StoredTensor& back = found.at(t.name);
    encode_in_parts(t, [&](std::size_t at, std::span<const std::byte> part) {
      if (std::memcmp(back.bytes.data() + at, part.data(), part.size()) == 0) return;
      throw Error(ErrorKind::kIo, fmt::format("{}: tensor '{}' reads back other than it was "
                                              "written",
                                              file.path(), t.name));
    });
  }
}

}  // namespace

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  put_in_order(tensors);
  const std::string header = header_of(tensors, metadata);
  PendingFile file(path);
  write_file(file, header, tensors);
  compare(file, tensors);
  file.publish();
}

}  // namespace gradwire
