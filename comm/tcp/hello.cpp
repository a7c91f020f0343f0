#include "comm/tcp/hello.h"

#include <fmt/format.h>

#include "core/host_name.h"

namespace gradwire {
namespace {

std::string_view bytes_of(const Hello& hello) {
  return {reinterpret_cast<const char*>(&hello), sizeof hello};
}

}  // namespace

Hello make_hello(const TcpOptions& options) {
  Hello hello;
  hello.piece_bytes = options.piece_bytes;
  hello.rank = options.rank;
  hello.size = options.size;
  hello.connections = options.connections;
  hello.host = to_text<68>(host_name());
  hello.nonce = make_nonce();
  return hello;
}

Digest hello_proof(const Hello& hello, const Digest& nonce, const TcpOptions& options) {
  return prove(options.token, {"gradwire tcp connects", bytes_of(hello), bytes_of(nonce)});
}

Digest welcome_proof(int rank, const Hello& hello, const Digest& nonce, const TcpOptions& options) {
  return prove(options.token,
               {"gradwire tcp accepts", fmt::format("{}", rank), bytes_of(hello), bytes_of(nonce)});
}

std::string refusal(const Hello& hello, const TcpOptions& options) {
  if (hello.size != options.size) {
    return fmt::format("it counts {} ranks, this one {}", hello.size, options.size);
  }
  if (hello.piece_bytes != options.piece_bytes || hello.connections != options.connections) {
    return "its connections are set up differently";
  }
  const bool a_peer = hello.rank > options.rank && hello.rank < options.size;
  const bool a_channel = hello.channel >= Hello::kControl && hello.channel < options.connections;
  if (!a_peer || !a_channel) return fmt::format("no rank {} was expected", hello.rank);
  return "";
}

}  // namespace gradwire
