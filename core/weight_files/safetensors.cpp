#include "core/weight_files/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "core/weight_files/json_reader.h"

namespace gradwire {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kLongestHeader = 100'000'000;  // the limit of the format's own library
constexpr int kDeepest = 3;                            // {name: {shape: [..]}}

struct Place {
  std::int64_t begin, end;
  std::string name;
};

class Header {
 public:
  explicit Header(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  SafetensorsFile read() {
    const std::string_view text = text_of_header();
    data_ = file_->bytes().subspan(sizeof(std::uint64_t) + text.size());
    const Json header = read_json_object(file_->path() + ": safetensors header", text, kDeepest);
    SafetensorsFile out;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        out.metadata = metadata(entry);
      } else {
        out.tensors.emplace(name, tensor(name, entry));
      }
    }
    check_places();
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::kData, fmt::format("{}: {}", file_->path(), why));
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
    refuse(fmt::format("tensor '{}': {}", printable(name, 128), why));
  }

  std::string_view text_of_header() const {
    const std::span<const std::byte> bytes = file_->bytes();
    std::uint64_t length = 0;
    if (bytes.size() < sizeof length) {
      refuse(fmt::format("{} bytes are too few for safetensors", bytes.size()));
    }
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > kLongestHeader || length > bytes.size() - sizeof length) {
      refuse(fmt::format("no safetensors file, or cut off: a header of {} bytes in a file of {}",
                         length, bytes.size()));
    }
    return {reinterpret_cast<const char*>(bytes.data()) + sizeof length,
            static_cast<std::size_t>(length)};
  }

  std::map<std::string, std::string> metadata(const Json& entry) const {
    std::map<std::string, std::string> out;
    if (!entry.is_object()) refuse("__metadata__ is not an object of strings");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) refuse("__metadata__ is not an object of strings");
      out.emplace(key, value.get<std::string>());
    }
    return out;
  }

  ElementType type_of(const std::string& name, const Json& entry) const {
    constexpr ElementType kTypes[] = {ElementType::kF64,  ElementType::kF32, ElementType::kF16,
                                      ElementType::kBf16, ElementType::kI64, ElementType::kI32,
                                      ElementType::kI16,  ElementType::kI8,  ElementType::kU8,
                                      ElementType::kBool};
    const auto dtype = entry.find("dtype");
    if (dtype == entry.end() || !dtype->is_string()) refuse(name, "has no dtype");
    const auto text = dtype->get<std::string>();
    for (const ElementType type : kTypes)
      if (text == name_of(type)) return type;
    refuse(name, fmt::format("dtype '{}' is not supported", printable(text, 32)));
  }

  std::vector<std::int64_t> numbers(const std::string& name, const Json& entry,
                                    const char* key) const {
    const auto list = entry.find(key);
    if (list == entry.end() || !list->is_array()) refuse(name, fmt::format("has no {}", key));
    std::vector<std::int64_t> out;
    for (const Json& number : *list) {
      if (!number.is_number_unsigned() || number.get<std::uint64_t>() > INT64_MAX) {
        refuse(name, fmt::format("{} are not numbers from 0 on", key));
      }
      out.push_back(number.get<std::int64_t>());
    }
    return out;
  }

  StoredTensor tensor(const std::string& name, const Json& entry) {
    if (!entry.is_object()) refuse(name, "is not described by an object");
    StoredTensor out;
    out.type = type_of(name, entry);
    out.file = file_;
    const std::vector<std::int64_t> dims = numbers(name, entry, "shape");
    if (dims.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
      refuse(name, fmt::format("has {} dimensions; at most {} are supported", dims.size(),
                               Shape::kMaxRank));
    }
    const std::vector<std::int64_t> place = numbers(name, entry, "data_offsets");
    const std::optional<std::int64_t> bytes = size_in_bytes(out.type, dims);
    if (place.size() != 2 || place[0] > place[1] || place[1] > std::ssize(data_)) {
      refuse(name, fmt::format("data_offsets are not in the {} bytes of data", data_.size()));
    }
    if (!bytes || *bytes != place[1] - place[0]) {
      refuse(name, fmt::format("{} {} does not take the {} bytes that it has", name_of(out.type),
                               entry["shape"].dump(), place[1] - place[0]));
    }
    out.shape = Shape(dims);
    out.bytes = data_.subspan(static_cast<std::size_t>(place[0]), static_cast<std::size_t>(*bytes));
    places_.push_back({place[0], place[1], name});
    return out;
  }

  // Tensors touch each other and fill the file: no byte is hidden, and none is in two of them.
  void check_places() {
    std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::int64_t end = 0;
    for (const Place& place : places_) {
      if (place.begin != end) {
        refuse(place.name,
               fmt::format("begins at byte {} of the data; {} was to be next", place.begin, end));
      }
      end = place.end;
    }
    if (end != std::ssize(data_)) {
      refuse(fmt::format("{} bytes of data follow the last tensor", std::ssize(data_) - end));
    }
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> data_;
  std::vector<Place> places_;
};

std::string in(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

// Tensor to shard, as the index says.
std::map<std::string, std::string> read_index(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                              file->bytes().size());
  const Json index = read_json_object(path, text, kDeepest);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    throw Error(ErrorKind::kData, path + ": has no weight_map");
  }
  std::map<std::string, std::string> out;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    // A shard is a file of this folder, whatever the index says.
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: the shard of '{}' is no name of a file: {}", path,
                              printable(tensor, 128), printable(shard.dump(), 128)));
    }
    out.emplace(tensor, name);
  }
  return out;
}

StoredTensors read_shards(const std::string& folder, const std::string& index_path) {
  const std::map<std::string, std::string> index = read_index(index_path);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index)
    shards.insert(shard);
  StoredTensors all;
  for (const std::string& shard : shards) {
    for (auto& [name, tensor] : read_safetensors(in(folder, shard)).tensors) {
      const auto entry = index.find(name);
      if (entry == index.end() || entry->second != shard) {
        throw Error(
            ErrorKind::kData,
            fmt::format("{}: tensor '{}' is in {}, but {}", index_path, printable(name, 128), shard,
                        entry == index.end() ? "the index does not name it"
                                             : "the index says " + entry->second));
      }
      all.emplace(name, std::move(tensor));
    }
  }
  for (const auto& [tensor, shard] : index) {
    if (!all.contains(tensor)) {
      throw Error(ErrorKind::kData, fmt::format("{}: tensor '{}' is not in {}", index_path,
                                                printable(tensor, 128), shard));
    }
  }
  return all;
}

}  // namespace

SafetensorsFile read_safetensors(const std::string& path) {
  return Header(MappedFile::open(path)).read();
}

StoredTensors read_safetensors_folder(const std::string& folder) {
  return read_safetensors_folder(folder, "model");
}

StoredTensors read_safetensors_folder(const std::string& folder, const std::string& stem) {
  const std::string index = in(folder, stem + ".safetensors.index.json");
  if (std::filesystem::exists(index)) return read_shards(folder, index);
  return read_safetensors(in(folder, stem + ".safetensors")).tensors;
}

}  // namespace gradwire
