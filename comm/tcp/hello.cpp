#include "comm/tcp/hello.h"

#include <fmt/format.h>

#include "comm/sockets.h"
#include "core/hash.h"

namespace gradwire {

Hello make_hello(const TcpOptions& options) {
  Hello hello;
  hello.token = hash_of(options.token);
  hello.piece_bytes = options.piece_bytes;
  hello.rank = options.rank;
  hello.size = options.size;
  hello.connections = options.connections;
  hello.host = to_text<68>(host_name());
  return hello;
}

std::string refusal(const Hello& hello, const TcpOptions& options) {
  const Hello own = make_hello(options);
  if (hello.token != own.token) return "it belongs to another job";
  if (hello.size != own.size) {
    return fmt::format("it counts {} ranks, this one {}", hello.size, own.size);
  }
  if (hello.piece_bytes != own.piece_bytes || hello.connections != own.connections) {
    return "its connections are set up differently";
  }
  const bool a_peer = hello.rank > own.rank && hello.rank < own.size;
  const bool a_channel = hello.channel >= Hello::kControl && hello.channel < own.connections;
  if (!a_peer || !a_channel) return fmt::format("no rank {} was expected", hello.rank);
  return "";
}

}  // namespace gradwire
