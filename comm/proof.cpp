#include "comm/proof.h"

#include <charconv>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "core/error.h"

namespace gradwire {

Digest make_nonce() {
  Digest nonce{};
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) == 1) return nonce;
  throw Error(ErrorKind::kInternal, "the system has no random numbers");
}

Digest hmac_sha256(std::string_view key, std::string_view message) {
  Digest code{};
  const auto* const begin = reinterpret_cast<const unsigned char*>(message.data());
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), begin, message.size(),
           code.data(), nullptr) != nullptr) {
    return code;
  }
  throw Error(ErrorKind::kInternal, "libcrypto has no HMAC with SHA-256");
}

Digest prove(const std::string& secret, std::initializer_list<std::string_view> parts) {
  std::string message;
  for (const std::string_view part : parts)
    message += fmt::format("{}:{}", part.size(), part);
  return hmac_sha256(secret, message);
}

bool same_digest(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string to_hex(const Digest& digest) {
  std::string text;
  for (const std::uint8_t byte : digest)
    text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<Digest> digest_from_hex(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::uint8_t& byte : digest) {
    const auto [stop, failure] = std::from_chars(text.data(), text.data() + 2, byte, 16);
    if (failure != std::errc() || stop != text.data() + 2) return std::nullopt;
    text.remove_prefix(2);
  }
  return digest;
}

}  // namespace gradwire
