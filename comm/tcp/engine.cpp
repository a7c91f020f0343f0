#include "comm/tcp/engine.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <exception>
#include <future>
#include <numeric>
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "comm/descriptors.h"
#include "comm/sockets.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"

namespace gradwire {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr auto kTick = 20ms;
// A peer that dies loses all its connections at once; one of them alone is another trouble.
constexpr auto kBrokenFor = 1s;
// To get the reason of a failure out, and to hear the others' goodbyes.
constexpr auto kLastWords = 1s;
constexpr auto kGoodbyes = 5s;
constexpr std::size_t kMostText = 4096;

[[noreturn]] void invalid_frame(int peer, const FrameHeader& header) {
  throw Error(ErrorKind::kComm,
              fmt::format("tcp: rank {} sent an invalid frame (type {}, {} bytes)", peer,
                          static_cast<int>(header.type), header.bytes));
}

const TcpOptions& checked(const TcpOptions& o) {
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
  constexpr int kMostConnections = 64;
  if (o.size < 1 || o.rank < 0 || o.rank >= o.size) {
    throw Error(ErrorKind::kUsage, fmt::format("tcp: rank {} of {}", o.rank, o.size));
  }
  if (o.piece_bytes < 1 || o.piece_bytes > kMostBytes) {
    throw Error(ErrorKind::kUsage, fmt::format("tcp: pieces of {} bytes", o.piece_bytes));
  }
  if (o.connections < 1 || o.connections > kMostConnections) {
    throw Error(ErrorKind::kUsage, fmt::format("tcp: {} connections to a peer", o.connections));
  }
  if (o.addresses.empty()) throw Error(ErrorKind::kUsage, "tcp: no address of rank 0");
  check_descriptors(std::int64_t{o.connections + 1} * (o.size - 1),
                    fmt::format("tcp: {} ranks", o.size));
  return o;
}

FrameHeader header_of(FrameType type) {
  FrameHeader header;
  header.type = type;
  return header;
}

}  // namespace

TcpEngine::TcpEngine(const TcpOptions& options)
    : options_(checked(options)), keep_running_(io_.get_executor()), timer_(io_) {
  std::vector<TcpLink> links = meet(io_, options_);
  peers_.resize(links.size());
  for (int r = 0; r < options_.size; ++r) {
    if (r != options_.rank) start_peer(r, std::move(links[static_cast<std::size_t>(r)]));
  }
  std::vector<int> all(links.size());
  std::iota(all.begin(), all.end(), 0);
  world_ = make_channel(0, std::move(all), options_.rank);
  tick();
  thread_ = std::thread([this] { thread_main(); });
}

TcpEngine::~TcpEngine() {
  say_goodbye();
  io_.stop();
  thread_.join();
}

void TcpEngine::start_peer(int rank, TcpLink link) {
  TcpPeer& peer = peers_[static_cast<std::size_t>(rank)];
  peer.host = link.host;
  make_watchful(link.control, options_.timeout);
  peer.control = std::make_shared<TcpConnection>(std::move(link.control));
  peer.control->start([this, rank](const FrameHeader& h) { return place_control(rank, h); },
                      [this, rank](const FrameHeader& h) { heard(rank, h); },
                      [this, rank](const std::string& why) { lost(rank, why); });
  for (auto& socket : link.data) {
    socket.set_option(asio::ip::tcp::no_delay(true));
    auto data = std::make_shared<TcpConnection>(std::move(socket));
    data->start([this, rank](const FrameHeader& h) { return place_data(rank, h); },
                [&peer](const FrameHeader& h) { peer.inbox.finish(h); },
                [this, rank](const std::string& why) { broken(rank, why); });
    peer.data.push_back(std::move(data));
  }
}

std::shared_ptr<TcpChannel> TcpEngine::make_channel(std::uint64_t id, std::vector<int> world_ranks,
                                                    int rank) {
  auto channel = std::make_shared<TcpChannel>(id, std::move(world_ranks), rank, peers_, options_,
                                              [this](const OperationPtr& op) { done(op); });
  channels_[id] = channel;
  return channel;
}

void TcpEngine::thread_main() {
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception& e) {
      fail(fmt::format("rank {}: {}", options_.rank, e.what()));
    }
  }
}

std::byte* TcpEngine::place_data(int peer, const FrameHeader& header) {
  const bool fits = header.bytes <= static_cast<std::uint64_t>(std::max<std::int64_t>(
                                        options_.piece_bytes, sizeof(double)));
  const bool known = header.type == FrameType::kRound || header.type == FrameType::kMessage;
  if (!fits || !known) {
    throw Error(ErrorKind::kComm, fmt::format("tcp: rank {} sent an invalid message of {} bytes",
                                              peer, header.bytes));
  }
  TcpPeer& from = peers_[static_cast<std::size_t>(peer)];
  std::byte* const to = from.inbox.begin(header);
  const auto channel = channels_.find(header.channel);
  if (header.type == FrameType::kRound && channel != channels_.end()) {
    channel->second->check_early(header, peer);
  }
  return to;
}

std::byte* TcpEngine::place_control(int peer, const FrameHeader& header) {
  TcpPeer& from = peers_[static_cast<std::size_t>(peer)];
  const bool has_text = header.type == FrameType::kAbort;
  if (header.bytes > (has_text ? kMostText : 0)) {
    invalid_frame(peer, header);
  }
  from.note.resize(header.bytes);
  return reinterpret_cast<std::byte*>(from.note.data());
}

void TcpEngine::heard(int peer, const FrameHeader& header) {
  TcpPeer& from = peers_[static_cast<std::size_t>(peer)];
  switch (header.type) {
    case FrameType::kReceipt:
      from.inbox.begin(header);
      from.inbox.finish(header);
      return;
    case FrameType::kAbort: return fail(printable_line(from.note));
    case FrameType::kGoodbye: from.left = true; return;
    case FrameType::kPulse:
    case FrameType::kStop: return;  // said just before the end of the meeting was known
    case FrameType::kRound:
    case FrameType::kMessage:
    case FrameType::kParent:
    case FrameType::kTable:
    case FrameType::kReady:
    case FrameType::kGo:
    case FrameType::kNews: break;
  }
  invalid_frame(peer, header);
}

// The control connection will tell whether the peer is gone, or has failed and said why.
void TcpEngine::broken(int peer, const std::string& why) {
  TcpPeer& from = peers_[static_cast<std::size_t>(peer)];
  if (from.left || from.broken_since) return;
  from.broken_since = TcpChannel::Clock::now();
  from.broken_why = why;
}

void TcpEngine::lost(int peer, const std::string& why) {
  const TcpPeer& from = peers_[static_cast<std::size_t>(peer)];
  if (from.left) return;
  fail(
      fmt::format("rank {} on host {} was lost at {:%H:%M:%S}: its connection closed without a "
                  "goodbye ({})",
                  peer, from.host, fmt::localtime(std::time(nullptr)), why));
}

void TcpEngine::tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    tick();
    if (failed_) return;
    const TcpChannel::Clock::time_point now = TcpChannel::Clock::now();
    const auto slept = own_sleep_.look(now);
    check_broken(now);
    for (const auto& [id, channel] : channels_) {
      channel->forgive(slept);
      channel->check_stalled(now);
    }
  });
}

void TcpEngine::check_broken(TcpChannel::Clock::time_point now) {
  for (std::size_t r = 0; r < peers_.size(); ++r) {
    const TcpPeer& peer = peers_[r];
    if (peer.left || !peer.broken_since || now - *peer.broken_since < kBrokenFor) continue;
    throw Error(ErrorKind::kComm, fmt::format("tcp: a connection to rank {} on host {} broke: {}",
                                              r, peer.host, peer.broken_why));
  }
}

void TcpEngine::done(const OperationPtr& op) {
  op->count(ledger_);
  {
    const std::lock_guard lock(mutex_);
    op->end();
  }
  to_callers_.notify_all();
}

// Operations end only when nothing can write into their memory any more. Everybody passes the
// reason on, so that it arrives before the end of a connection can be taken for a loss.
void TcpEngine::fail(const std::string& why) {
  if (failed_) return;
  for (TcpPeer& peer : peers_) {
    if (peer.control) peer.tell(header_of(FrameType::kAbort), why.substr(0, kMostText));
    for (const auto& connection : peer.data)
      connection->close();
    peer.inbox.clear();
  }
  std::vector<OperationPtr> unfinished;
  for (const auto& [id, channel] : channels_)
    channel->abandon(unfinished);
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    why_ = why;
    for (const OperationPtr& op : unfinished) {
      op->error = why;
      op->end();
    }
  }
  to_callers_.notify_all();
}

template <class F>
void TcpEngine::run(const F& task) {
  std::packaged_task<void()> once([&] { task(); });
  std::future<void> result = once.get_future();
  asio::post(io_, std::move(once));
  result.get();
}

std::shared_ptr<TcpChannel> TcpEngine::make_part(const TcpChannel& parent,
                                                 const std::vector<int>& members,
                                                 std::uint64_t split) {
  if (members.empty()) return nullptr;
  std::vector<int> world_ranks;
  for (const int r : members)
    world_ranks.push_back(parent.world_rank(r));
  const auto here = std::find(members.begin(), members.end(), parent.rank());
  const std::array<std::uint64_t, 3> name{parent.id(), split,
                                          static_cast<std::uint64_t>(world_ranks.front())};
  std::shared_ptr<TcpChannel> channel;
  run([&] {
    channel = make_channel(hash_of(std::as_bytes(std::span(name))), std::move(world_ranks),
                           static_cast<int>(here - members.begin()));
  });
  return channel;
}

void TcpEngine::release(const std::shared_ptr<TcpChannel>& channel) {
  run([&] { channels_.erase(channel->id()); });
}

OperationPtr TcpEngine::submit(const std::shared_ptr<TcpChannel>& channel, Call call,
                               const CallOptions& options) {
  check_alive();
  OperationPtr op = make_operation(std::move(call), options);
  asio::post(io_, [this, channel, op] {
    if (!failed_) return channel->submit(op);
    {
      const std::lock_guard lock(mutex_);
      op->error = why_;
      op->end();
    }
    to_callers_.notify_all();
  });
  return op;
}

// Bounded: the thread ends what does not move.
void TcpEngine::wait(Operation& op) {
  std::unique_lock lock(mutex_);
  to_callers_.wait(lock, [&] { return op.done; });
  if (!op.error.empty()) throw Error(ErrorKind::kComm, op.error);
}

void TcpEngine::drop(Operation& op) {
  std::string what;
  {
    const std::lock_guard lock(mutex_);
    if (op.done) return;
    what = describe(op.call);  // under the lock: the thread clears it when it is done
  }
  abort(fmt::format("rank {} dropped {} before it was done", options_.rank, what));
}

void TcpEngine::check_alive() {
  const std::lock_guard lock(mutex_);
  if (failed_) throw Error(ErrorKind::kComm, why_);
}

void TcpEngine::abort(const std::string& why) {
  run([&] { fail(why); });
}

// After a failure its reason must get out; otherwise all ranks have come here, and each waits for
// the others' goodbyes before it closes what they may still read.
void TcpEngine::say_goodbye() {
  auto patience = kGoodbyes;
  run([&] {
    if (failed_) patience = kLastWords;
    for (const TcpPeer& peer : peers_) {
      if (peer.control && !failed_) peer.control->send(header_of(FrameType::kGoodbye), nullptr, {});
    }
  });
  const auto quiet = [this] {
    bool all = true;
    run([&] {
      for (const TcpPeer& peer : peers_) {
        const bool open = peer.control && peer.control->is_open();
        all &= !open || (peer.control->flushed() && (failed_ || peer.left));
      }
    });
    return all;
  };
  const auto begin = TcpChannel::Clock::now();
  while (!quiet() && TcpChannel::Clock::now() - begin < patience)
    std::this_thread::sleep_for(1ms);
}

}  // namespace gradwire
