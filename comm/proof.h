// How the ranks of a job prove to each other that they know its secret, which never travels: each
// side picks a nonce, and answers the other's with a message authentication code of both (HMAC,
// RFC 2104, with SHA-256). What was overheard is of no use on another connection.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace gradwire {

using Digest = std::array<std::uint8_t, 32>;

// Unpredictable, from the system. Errors: kInternal if it has no randomness.
Digest make_nonce();

// The message authentication code itself (RFC 2104 and RFC 4231).
Digest hmac_sha256(std::string_view key, std::string_view message);
// The code of `parts`, each with its length, under `secret`. The first part should say who speaks,
// so that no message can be sent back as the answer to itself.
Digest prove(const std::string& secret, std::initializer_list<std::string_view> parts);
// Takes the same time wherever they differ.
bool same_digest(const Digest& a, const Digest& b);

std::string_view bytes_of(const Digest& digest);
std::string to_hex(const Digest& digest);
std::optional<Digest> digest_from_hex(std::string_view text);  // of 64 digits, nothing else

}  // namespace gradwire
