// How the ranks of a TCP world find each other: all come to rank 0, say who they are and where they
// listen, and get everybody's address back, down a tree; then each connects to all ranks below its
// own. Who does not belong to the job is shown out, and told why. Rank 0 watches over them all
// (comm/tcp/roll.h).
#pragma once

#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/tcp_comm.h"

namespace gradwire {

// The connections to one peer.
struct TcpLink {
  std::string host;
  boost::asio::ip::tcp::socket control;
  std::vector<boost::asio::ip::tcp::socket> data;
};

// By rank; this rank's own holds nothing. The sockets are of `io`. Errors: kComm, naming the ranks
// that did not come within the timeout or were lost meanwhile, or the reason of rank 0. Throws
// MeetingStopped.
std::vector<TcpLink> meet(boost::asio::io_context& io, const TcpOptions& options);

}  // namespace gradwire
