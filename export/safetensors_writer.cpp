#include "export/safetensors_writer.h"

#include <algorithm>
#include <fstream>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/weight_files/safetensors.h"

namespace gradwire {
namespace {

std::int64_t bytes_of(const TensorToWrite& t) {
  const bool known =
      t.type == ElementType::kF32 || t.type == ElementType::kF16 || t.type == ElementType::kBf16;
  if (!known || t.name.empty() || t.name == "__metadata__") {
    throw Error(ErrorKind::kUsage,
                fmt::format("safetensors: '{}' of {} cannot be written", t.name, name_of(t.type)));
  }
  return encoded_bytes(t);
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

// Which shard each tensor is in.
std::vector<std::vector<TensorToWrite>> cut(const std::vector<TensorToWrite>& tensors,
                                            std::int64_t shard_bytes) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  std::int64_t filled = 0;
  for (const TensorToWrite& t : tensors) {
    const std::int64_t bytes = bytes_of(t);
    if (filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(t);
    filled += bytes;
  }
  return shards;
}

}  // namespace

void write_safetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  put_in_order(tensors);
  const std::string header = header_of(tensors, metadata);
  PendingFile file(path);
  write_file(file, header, tensors);
  compare_tensors(file.path(), read_safetensors(file.temporary()).tensors, tensors);
  file.publish();
}

void write_safetensors_folder(const std::string& folder, const std::string& stem,
                              const std::vector<TensorToWrite>& tensors, std::int64_t shard_bytes) {
  const auto path = [&](const std::string& name) { return fmt::format("{}/{}", folder, name); };
  const std::vector<std::vector<TensorToWrite>> shards = cut(tensors, shard_bytes);
  if (shards.size() == 1) {
    return write_safetensors(path(stem + ".safetensors"), tensors);
  }
  std::int64_t total = 0;
  nlohmann::ordered_json places = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, shards.size());
    write_safetensors(path(name), shards[i]);
    for (const TensorToWrite& t : shards[i]) {
      places[t.name] = name;
      total += bytes_of(t);
    }
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}},
                                        {"weight_map", places}};
  publish_text(path(stem + ".safetensors.index.json"), index.dump(2) + "\n");
}

}  // namespace gradwire
