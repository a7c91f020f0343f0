// XXH3 (64 bits) of bytes, of a stream of bytes and of a file: what manifests and token files are
// recognised by. It finds damage and mix-ups; it is no protection against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace gradwire {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void add(std::span<const std::byte> bytes);
  std::uint64_t digest() const;  // of all that was added

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::uint64_t hash_of(std::span<const std::byte> bytes);
std::uint64_t hash_of(const std::string& text);
// Errors: kIo, naming the file.
std::uint64_t hash_of_file(const std::string& path);
std::string to_hex(std::uint64_t hash);  // 16 digits

}  // namespace gradwire
