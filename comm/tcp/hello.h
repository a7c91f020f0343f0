// The messages of a meeting (comm/tcp/mesh.h): of fixed size, so that nothing a stranger sends is
// ever allocated for. On every connection: Hello from who connects; Reply{kProve} with a nonce;
// the Digest of hello_proof(); Reply{kWelcome} with that of welcome_proof(). Instead of each Reply
// a Reply{kRefused} may come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "comm/proof.h"
#include "comm/tcp/tcp_comm.h"

namespace gradwire {

template <std::size_t N>
using Text = std::array<char, N>;  // ends with a zero

template <std::size_t N>
Text<N> to_text(std::string_view s) {
  Text<N> text{};
  s.substr(0, N - 1).copy(text.data(), N - 1);
  return text;
}
// Whatever came, a terminal can show it: other characters than those of ASCII that print become
// '?'.
template <std::size_t N>
std::string to_string(Text<N> text) {
  text.back() = '\0';
  std::string shown = text.data();
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  return shown;
}

// The first words on every connection.
struct Hello {
  static constexpr std::uint64_t kMagic = 0x33304F4C4C454857;  // "WHELLO03", the version last
  static constexpr std::uint64_t kAnyVersion = 0x0000FFFFFFFFFFFF;
  static constexpr std::int32_t kControl = -1;

  std::uint64_t magic = kMagic;
  std::int64_t piece_bytes = 0;
  std::int32_t rank = 0;
  std::int32_t size = 0;
  std::int32_t connections = 0;
  std::int32_t channel = kControl;  // or the number of a connection for data
  std::uint32_t port = 0;           // where this rank listens
  Text<68> host{};
  Digest nonce{};
};
// All of it is proved: there must be no padding.
static_assert(std::has_unique_object_representations_v<Hello>);

struct Reply {
  enum Verdict : std::uint32_t { kRefused, kProve, kWelcome };

  std::uint32_t verdict = kRefused;
  Text<476> why{};  // refused
  Digest digest{};  // kProve: a nonce; kWelcome: the proof
};
static_assert(sizeof(Reply) == 512);

// What rank 0 knows of a rank, and the others hear from it and from each other.
struct Contact {
  Text<48> address{};
  Text<68> host{};
  std::uint32_t port = 0;
};
static_assert(sizeof(Contact) == 120);

// The table of all contacts goes down a tree, so that nobody sends it more often than this: rank 0
// sends it to ranks 1 to kMostChildren, and so on.
constexpr int kMostChildren = 4;
constexpr int parent_of(int rank) {
  return (rank - 1) / kMostChildren;
}

Hello make_hello(const TcpOptions& options);
// That who says `hello`, and was asked with `nonce`, knows the token.
Digest hello_proof(const Hello& hello, const Digest& nonce, const TcpOptions& options);
// That `rank`, which asked with `nonce`, knows the token as well.
Digest welcome_proof(int rank, const Hello& hello, const Digest& nonce, const TcpOptions& options);
// Why a rank of this job that says this can't belong to the world of `options`; empty: it can.
std::string refusal(const Hello& hello, const TcpOptions& options);

}  // namespace gradwire
