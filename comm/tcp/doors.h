// Where rank 0 listens while ranks meet: at the addresses that its name means on this host, and at
// no other interface if that can be helped.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/tcp_comm.h"

namespace gradwire {

struct Doors {
  std::vector<boost::asio::ip::address> addresses;
  std::string warning;  // why it is all interfaces; empty: it is not
};

// Of what the names of rank 0 resolve to here. All interfaces remain if none of that is an
// address of this host (`is_own`), as behind a service's address, and if it is loopback alone
// though ranks run on other hosts: a host often knows itself as 127.0.1.1.
Doors choose_doors(const std::vector<boost::asio::ip::address>& resolved, bool one_host,
                   const std::function<bool(const boost::asio::ip::address&)>& is_own);

// Sockets that listen at `options.addresses`, or the one that the options hand over. Tells of
// warnings, and of an interface others can reach without a token. Errors: kComm.
std::vector<boost::asio::ip::tcp::acceptor> open_doors(boost::asio::io_context& io,
                                                       const TcpOptions& options);
// One at this address. Errors: kComm, which says that `who` cannot listen.
boost::asio::ip::tcp::acceptor listen_at(boost::asio::io_context& io,
                                         const boost::asio::ip::tcp::endpoint& at,
                                         const std::string& who);

// "node1,10.0.0.2:29400"
std::string where_ranks_meet(const TcpOptions& options);

}  // namespace gradwire
