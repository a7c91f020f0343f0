#include "comm/tcp/doors.h"

#include <algorithm>

#include <boost/asio/ip/v6_only.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {

namespace asio = boost::asio;
using asio::ip::address;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

std::vector<address> resolve(asio::io_context& io, const std::vector<std::string>& names) {
  std::vector<address> all;
  for (const std::string& name : names) {
    if (name == "localhost") {  // ::1 as well, perhaps, if nobody can listen
      all.push_back(asio::ip::address_v4::loopback());
      continue;
    }
    error_code unknown;
    const auto found = Tcp::resolver(io).resolve(name, "", unknown);
    if (unknown) continue;
    for (const auto& entry : found) {
      const address one = entry.endpoint().address();
      if (std::ranges::find(all, one) == all.end()) all.push_back(one);
    }
  }
  return all;
}

bool is_numeric(const std::string& name) {
  error_code not_numeric;
  asio::ip::make_address(name, not_numeric);
  return !not_numeric;
}

bool can_bind(asio::io_context& io, const address& at) {
  error_code error;
  Tcp::socket socket(io);
  const Tcp::endpoint endpoint(at, 0);
  socket.open(endpoint.protocol(), error);
  if (!error) socket.bind(endpoint, error);
  return !error;
}

bool all_loopback(const std::vector<address>& all) {
  return std::ranges::all_of(all, [](const address& a) { return a.is_loopback(); });
}

// What is written as an address is meant, and an error if it is not this host's; so is localhost.
bool is_certain(const std::vector<std::string>& names) {
  return std::ranges::all_of(
      names, [](const std::string& n) { return n == "localhost" || is_numeric(n); });
}

// The system's own words do not say what to do.
std::string reason(const error_code& error) {
  if (error != asio::error::address_in_use) return error.message();
  return error.message() +
         ": another job or program has that port; give each job a port of its "
         "own (comm.address, MASTER_PORT)";
}

void warn(const Doors& doors, const TcpOptions& options) {
  if (!doors.warning.empty()) options.hooks.tell("warning: " + doors.warning);
  if (options.token.empty() && !all_loopback(doors.addresses)) {
    options.hooks.tell(fmt::format(
        "warning: ranks meet at {} without a token: whoever reaches that port can join in; set "
        "GRADWIRE_TOKEN to the same random text on all ranks",
        where_ranks_meet(options)));
  }
}

}  // namespace

Doors choose_doors(const std::vector<address>& resolved, bool one_host,
                   const std::function<bool(const address&)>& is_own) {
  Doors doors;
  std::ranges::copy_if(resolved, std::back_inserter(doors.addresses), is_own);
  const std::vector<address> any = {asio::ip::address_v4::any()};
  if (doors.addresses.empty())
    return {any, "the name of rank 0 means no address of this host: it listens on all interfaces"};
  if (!all_loopback(doors.addresses)) {
    // What peers elsewhere cannot come by needs no door; ranks of this host come by the others.
    if (!one_host) std::erase_if(doors.addresses, [](const address& a) { return a.is_loopback(); });
    return doors;
  }
  if (one_host) return doors;
  return {any, "the name of rank 0 means loopback on its own host: it listens on all interfaces"};
}

Tcp::acceptor listen_at(asio::io_context& io, const Tcp::endpoint& at, const std::string& who) {
  Tcp::acceptor door(io);
  error_code error;
  door.open(at.protocol(), error);
  if (!error && at.protocol() == Tcp::v6()) door.set_option(asio::ip::v6_only(true), error);
  if (!error) door.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) door.bind(at, error);
  if (!error) door.listen(Tcp::acceptor::max_listen_connections, error);
  if (!error) return door;
  throw Error(ErrorKind::kComm, fmt::format("tcp: {}: {}", who, reason(error)));
}

std::vector<Tcp::acceptor> open_doors(asio::io_context& io, const TcpOptions& options) {
  std::vector<Tcp::acceptor> doors;
  if (options.listener >= 0) {
    doors.emplace_back(io, Tcp::v4(), options.listener);
    return doors;
  }
  const std::vector<address> resolved = resolve(io, options.addresses);
  const Doors chosen = is_certain(options.addresses) && !resolved.empty()
                           ? Doors{resolved, ""}
                           : choose_doors(resolved, options.one_host,
                                          [&](const address& a) { return can_bind(io, a); });
  warn(chosen, options);
  const std::string who = fmt::format("rank 0 cannot listen at {}", where_ranks_meet(options));
  for (const address& at : chosen.addresses)
    doors.push_back(listen_at(io, Tcp::endpoint(at, options.port), who));
  return doors;
}

std::string where_ranks_meet(const TcpOptions& options) {
  return fmt::format("{}:{}", fmt::join(options.addresses, ","), options.port);
}

}  // namespace gradwire
