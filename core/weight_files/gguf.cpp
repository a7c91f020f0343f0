#include "core/weight_files/gguf.h"

#include <cstring>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"

namespace gradwire {
namespace {

template <class T>
T load_as(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

struct Scalar {
  std::optional<std::int64_t> integer{};
  std::optional<double> real{};
};

Scalar scalar_at(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::kU8: return {load_as<std::uint8_t>(at)};
    case GgufType::kI8: return {load_as<std::int8_t>(at)};
    case GgufType::kU16: return {load_as<std::uint16_t>(at)};
    case GgufType::kI16: return {load_as<std::int16_t>(at)};
    case GgufType::kU32: return {load_as<std::uint32_t>(at)};
    case GgufType::kI32: return {load_as<std::int32_t>(at)};
    case GgufType::kI64: return {load_as<std::int64_t>(at)};
    case GgufType::kU64: {
      const auto value = load_as<std::uint64_t>(at);
      if (value > INT64_MAX) return {};
      return {static_cast<std::int64_t>(value)};
    }
    case GgufType::kF32: return {{}, load_as<float>(at)};
    case GgufType::kF64: return {{}, load_as<double>(at)};
    default: return {};
  }
}

std::size_t scalar_size(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool: return 1;
    case GgufType::kU16:
    case GgufType::kI16: return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32: return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64: return 8;
    default: return 0;
  }
}

std::optional<ElementType> element_type(std::uint32_t ggml_type) {
  switch (ggml_type) {
    case 0: return ElementType::kF32;
    case 1: return ElementType::kF16;
    case 2: return ElementType::kQ4_0;
    case 3: return ElementType::kQ4_1;
    case 6: return ElementType::kQ5_0;
    case 7: return ElementType::kQ5_1;
    case 8: return ElementType::kQ8_0;
    case 12: return ElementType::kQ4K;
    case 14: return ElementType::kQ6K;
    case 24: return ElementType::kI8;
    case 25: return ElementType::kI16;
    case 26: return ElementType::kI32;
    case 27: return ElementType::kI64;
    case 28: return ElementType::kF64;
    case 30: return ElementType::kBf16;
    default: return std::nullopt;
  }
}

constexpr std::string_view kMagic = "GGUF";

}  // namespace

class GgufReader {
 public:
  explicit GgufReader(std::shared_ptr<const MappedFile> file) : bytes_(file->bytes()) {
    out_.file_ = std::move(file);
  }

  GgufFile read() {
    if (text_of(take(kMagic.size())) != kMagic) refuse("no GGUF file");
    const auto version = number<std::uint32_t>();
    if (version != 3) refuse(fmt::format("GGUF version {}; only 3 is supported", version));
    // A tensor's entry takes at least 24 bytes, a key's at least 13.
    const std::uint64_t tensors = count(24, "tensors"), keys = count(13, "keys");
    for (std::uint64_t i = 0; i < keys; ++i)
      read_key();
    for (std::uint64_t i = 0; i < tensors; ++i)
      read_tensor_entry();
    place_tensors();
    return std::move(out_);
  }

 private:
  struct Entry {
    std::string name;
    StoredTensor tensor;
    std::uint64_t offset, bytes;
  };

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::kData, fmt::format("{}: {}", out_.path(), why));
  }
  [[noreturn]] void refuse(const char* what, std::string_view name, const std::string& why) const {
    refuse(fmt::format("{} '{}': {}", what, printable(name, 128), why));
  }
  std::uint64_t remaining() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t size) {
    if (size > remaining()) {
      refuse(fmt::format("cut off: {} bytes wanted at {} of {}", size, at_, bytes_.size()));
    }
    const auto out = bytes_.subspan(at_, size);
    at_ += size;
    return out;
  }
  static std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  template <class T>
  T number() {
    return load_as<T>(take(sizeof(T)).data());
  }
  std::string_view text() {
    const auto length = number<std::uint64_t>();
    return text_of(take(length));
  }
  // A number of entries that take so many bytes at least.
  std::uint64_t count(std::uint64_t least_bytes, const char* what) {
    const auto value = number<std::uint64_t>();
    if (value > remaining() / least_bytes) {
      refuse(fmt::format("cut off: {} {} cannot be in a file of {} bytes", value, what,
                         bytes_.size()));
    }
    return value;
  }
  GgufType type(std::string_view key) {
    const auto value = number<std::uint32_t>();
    if (value >= static_cast<std::uint32_t>(GgufType::kCount)) {
      refuse("key", key, fmt::format("unknown type {}", value));
    }
    return static_cast<GgufType>(value);
  }

  void read_key() {
    const std::string key(text());
    GgufValue value;
    value.type = value.element = type(key);
    if (value.type == GgufType::kArray) {
      value.element = type(key);
      if (value.element == GgufType::kArray) refuse("key", key, "an array of arrays");
      value.count = number<std::uint64_t>();
    }
    const std::uint64_t begin = at_;
    if (value.element == GgufType::kString) {
      for (std::uint64_t i = 0; i < value.count; ++i)
        text();
    } else {
      const std::uint64_t size = scalar_size(value.element);
      if (value.count > remaining() / size) {
        refuse("key", key, fmt::format("cut off: {} elements", value.count));
      }
      take(value.count * size);
    }
    value.bytes = bytes_.subspan(begin, at_ - begin);
    if (key.empty() || !out_.metadata_.emplace(key, value).second) {
      refuse("key", key, key.empty() ? "has no name" : "appears twice");
    }
  }

  void read_tensor_entry() {
    constexpr std::uint32_t kMostDims = 4;
    Entry entry;
    entry.name = text();
    const auto rank = number<std::uint32_t>();
    if (rank > kMostDims) refuse("tensor", entry.name, fmt::format("{} dimensions", rank));
    std::array<std::int64_t, kMostDims> dims{};
    for (std::uint32_t i = 0; i < rank; ++i)
      dims[rank - 1 - i] = number<std::int64_t>();  // the file has the fastest first
    const auto ggml_type = number<std::uint32_t>();
    const std::optional<ElementType> type = element_type(ggml_type);
    if (!type) {
      refuse("tensor", entry.name, fmt::format("ggml type {} is not supported", ggml_type));
    }
    const std::span<const std::int64_t> shape = std::span(dims).first(rank);
    const std::optional<std::int64_t> bytes = size_in_bytes(*type, shape);
    if (!bytes) {
      refuse("tensor", entry.name,
             fmt::format("dimensions [{}] are not possible in {}", fmt::join(shape, ", "),
                         name_of(*type)));
    }
    entry.offset = number<std::uint64_t>();
    entry.bytes = static_cast<std::uint64_t>(*bytes);
    entry.tensor.type = *type;
    entry.tensor.shape = Shape(shape);
    entry.tensor.file = out_.file_;
    entries_.push_back(std::move(entry));
  }

  std::uint64_t alignment() const {
    constexpr const char* kKey = "general.alignment";
    constexpr std::int64_t kUsual = 32, kMost = 1 << 20;
    if (!out_.has(kKey)) return kUsual;
    const std::int64_t value = out_.integer(kKey);
    if (value < 1 || value > kMost || (value & (value - 1)) != 0) {
      refuse("key", kKey, fmt::format("{} is no power of two up to {}", value, kMost));
    }
    return static_cast<std::uint64_t>(value);
  }

  // Tensors follow each other in the order of their entries, each on a multiple of the alignment.
  void place_tensors() {
    const std::uint64_t unit = alignment();
    const auto padded = [unit](std::uint64_t n) { return (n + unit - 1) / unit * unit; };
    const std::uint64_t data = padded(at_);
    std::uint64_t offset = 0;
    for (Entry& e : entries_) {
      if (e.offset != offset) {
        refuse("tensor", e.name,
               fmt::format("at {} of the data; {} was to be next", e.offset, offset));
      }
      if (data > bytes_.size() || offset > bytes_.size() - data ||
          e.bytes > bytes_.size() - data - offset) {
        refuse("tensor", e.name,
               fmt::format("cut off: {} bytes at {} of the data, in a file of {}", e.bytes, offset,
                           bytes_.size()));
      }
      e.tensor.bytes = bytes_.subspan(data + offset, e.bytes);
      offset = padded(offset + e.bytes);
      if (!out_.tensors_.emplace(e.name, e.tensor).second) {
        refuse("tensor", e.name, "appears twice");
      }
    }
  }

  GgufFile out_;
  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
  std::vector<Entry> entries_;
};

GgufFile GgufFile::open(const std::string& path) {
  return GgufReader(MappedFile::open(path)).read();
}

bool GgufFile::is_gguf(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

const GgufValue& GgufFile::value(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) return found->second;
  throw Error(ErrorKind::kData, fmt::format("{}: key '{}' is missing", path(), key));
}

void GgufFile::refuse_kind(std::string_view key, const char* wanted) const {
  throw Error(ErrorKind::kData, fmt::format("{}: key '{}' is no {}", path(), key, wanted));
}

bool GgufFile::flag(std::string_view key) const {
  const GgufValue& v = value(key);
  if (v.type != GgufType::kBool) refuse_kind(key, "bool");
  return v.bytes.front() != std::byte{0};
}

std::string GgufFile::text(std::string_view key) const {
  if (value(key).type != GgufType::kString) refuse_kind(key, "string");
  const GgufValue& v = value(key);
  return {reinterpret_cast<const char*>(v.bytes.data()) + sizeof(std::uint64_t),
          v.bytes.size() - sizeof(std::uint64_t)};
}

std::int64_t GgufFile::integer(std::string_view key) const {
  const GgufValue& v = value(key);
  const Scalar found = scalar_at(v.type, v.bytes.data());
  if (!found.integer) refuse_kind(key, "integer below 2^63");
  return *found.integer;
}

double GgufFile::number(std::string_view key) const {
  const GgufValue& v = value(key);
  const Scalar found = scalar_at(v.type, v.bytes.data());
  if (found.real) return *found.real;
  if (!found.integer) refuse_kind(key, "number");
  return static_cast<double>(*found.integer);
}

std::vector<std::string> GgufFile::texts(std::string_view key) const {
  const GgufValue& v = value(key);
  if (v.type != GgufType::kArray || v.element != GgufType::kString) {
    refuse_kind(key, "array of strings");
  }
  std::vector<std::string> out;
  const auto* at = reinterpret_cast<const char*>(v.bytes.data());
  for (std::uint64_t i = 0; i < v.count; ++i) {
    const auto length = load_as<std::uint64_t>(reinterpret_cast<const std::byte*>(at));
    out.emplace_back(at + sizeof length, length);
    at += sizeof length + length;
  }
  return out;
}

std::vector<std::int64_t> GgufFile::integers(std::string_view key) const {
  const GgufValue& v = value(key);
  if (v.type != GgufType::kArray) refuse_kind(key, "array of integers");
  std::vector<std::int64_t> out;
  for (std::uint64_t i = 0; i < v.count; ++i) {
    const Scalar one = scalar_at(v.element, v.bytes.data() + i * scalar_size(v.element));
    if (!one.integer) refuse_kind(key, "array of integers");
    out.push_back(*one.integer);
  }
  return out;
}

std::vector<double> GgufFile::numbers(std::string_view key) const {
  const GgufValue& v = value(key);
  if (v.type != GgufType::kArray) refuse_kind(key, "array of numbers");
  std::vector<double> out;
  for (std::uint64_t i = 0; i < v.count; ++i) {
    const Scalar one = scalar_at(v.element, v.bytes.data() + i * scalar_size(v.element));
    if (!one.integer && !one.real) refuse_kind(key, "array of numbers");
    out.push_back(one.real ? *one.real : static_cast<double>(*one.integer));
  }
  return out;
}

}  // namespace gradwire
