// The messages of a meeting (comm/tcp/mesh.h): of fixed size, so that nothing a stranger sends is
// ever allocated for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/tcp_comm.h"

namespace gradwire {

template <std::size_t N>
using Text = std::array<char, N>;  // ends with a zero

template <std::size_t N>
Text<N> to_text(std::string_view s) {
  Text<N> text{};
  s.substr(0, N - 1).copy(text.data(), N - 1);
  return text;
}
template <std::size_t N>
std::string to_string(Text<N> text) {
  text.back() = '\0';
  return text.data();
}

// The first words on every connection.
struct Hello {
  static constexpr std::uint64_t kMagic = 0x31304F4C4C454857;  // "WHELLO01"
  static constexpr std::int32_t kControl = -1;

  std::uint64_t magic = kMagic;
  std::uint64_t token = 0;  // its XXH3: the job's token itself does not travel
  std::int64_t piece_bytes = 0;
  std::int32_t rank = 0;
  std::int32_t size = 0;
  std::int32_t connections = 0;
  std::int32_t channel = kControl;  // or the number of a connection for data
  std::uint32_t port = 0;           // where this rank listens
  Text<68> host{};
};
static_assert(sizeof(Hello) == 112);

// The answer.
struct Welcome {
  std::uint32_t accepted = 0;
  Text<508> why{};  // not
};
static_assert(sizeof(Welcome) == 512);

// What rank 0 knows of a rank, sent to all of them after the welcome.
struct Contact {
  Text<48> address{};
  Text<68> host{};
  std::uint32_t port = 0;
};
static_assert(sizeof(Contact) == 120);

Hello make_hello(const TcpOptions& options);
// Why a rank that says this can't belong to the world of `options`; empty: it can.
std::string refusal(const Hello& hello, const TcpOptions& options);

}  // namespace gradwire
