#include "core/hash.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/error.h"

namespace gradwire {

struct Hasher::State {
  State() : xxh(XXH3_createState()) {
    check(xxh != nullptr, ErrorKind::kMemory, "hash: no memory for its state");
    XXH3_64bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH3_state_t* xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh, bytes.data(), bytes.size());
}

std::uint64_t Hasher::digest() const {
  return XXH3_64bits_digest(state_->xxh);
}

std::uint64_t hash_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t hash_of(const std::string& text) {
  return hash_of(std::as_bytes(std::span(text)));
}

std::uint64_t hash_of_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  std::vector<std::byte> buffer(1 << 20);
  Hasher hasher;
  while (file) {
    const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get());
    hasher.add(std::span(buffer).first(n));
    if (n < buffer.size()) break;
  }
  if (!file || std::ferror(file.get()) != 0) {
    throw Error(ErrorKind::kIo, fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  return hasher.digest();
}

std::string to_hex(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

}  // namespace gradwire
