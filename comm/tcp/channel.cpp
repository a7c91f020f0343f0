#include "comm/tcp/channel.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::size_t kPiecesUnderWay = 2;

}  // namespace

TcpChannel::TcpChannel(std::uint64_t id, std::vector<int> world_ranks, int rank,
                       std::deque<TcpPeer>& peers, const TcpOptions& options, OnDone on_done)
    : id_(id),
      world_ranks_(std::move(world_ranks)),
      rank_(rank),
      peers_(peers),
      options_(options),
      on_done_(std::move(on_done)),
      messages_to_(world_ranks_.size()),
      messages_from_(world_ranks_.size()) {}

void TcpChannel::submit(const OperationPtr& op) {
  if (op->call.kind == CallKind::kExchange) return start_exchange(op);
  const std::vector<Piece> pieces = cut_into_pieces(op->call, size(), options_.piece_bytes);
  op->pieces_left = pieces.size();
  if (pieces.empty()) return on_done_(op);
  for (const Piece& piece : pieces)
    waiting_.push_back({op, piece, pieces_++});
  start_waiting();
}

TcpChannel::Active& TcpChannel::add_active(OperationPtr op) {
  Active& a = active_.emplace_back();
  a.self = std::prev(active_.end());
  a.op = std::move(op);
  return a;
}

void TcpChannel::start_waiting() {
  while (active_collectives_ < kPiecesUnderWay && !waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    Active& a = add_active(std::move(next.op));
    a.number = next.number;
    if (!spare_scratch_.empty()) {
      a.scratch = std::move(spare_scratch_.back());
      spare_scratch_.pop_back();
    }
    a.rounds = plan_rounds(a.op->call, rank_, size(), next.piece, a.scratch);
    ++active_collectives_;
    look_for_other_call(a);
    post_round(a);
  }
}

FrameHeader TcpChannel::header_of(const Active& a, std::size_t bytes) const {
  const Call& call = a.op->call;
  FrameHeader header;
  header.kind = call.kind;
  header.dtype = call.dtype;
  header.op = call.op;
  header.root = call.root;
  header.channel = id_;
  header.round = static_cast<std::uint32_t>(a.round);
  header.number = a.number;
  header.bytes = bytes;
  return header;
}

Inbox::Receive TcpChannel::receive_of(Active& a, const FrameHeader& wanted, const Transfer& t,
                                      std::size_t i) {
  return {wanted, t.data, [this, &a, i] { one_done(a, i); }, &a.op->call, rank_, t.peer};
}

// Whatever is done at once must not end the round before all of it is posted.
void TcpChannel::post_round(Active& a) {
  const Round& round = a.rounds[a.round];
  a.done.assign(round.receives.size() + round.sends.size(), 0);
  a.pending = a.done.size() + 1;
  a.moved = Clock::now();
  post_messages(a);
  settle(a);
}

void TcpChannel::post_messages(Active& a) {
  const Round& round = a.rounds[a.round];
  std::size_t i = 0;
  for (const Transfer& t : round.receives)
    peer(t.peer).inbox.expect(receive_of(a, header_of(a, t.bytes), t, i++));
  for (const Transfer& t : round.sends) {
    a.op->sends(t.bytes);
    peer(t.peer).send(header_of(a, t.bytes), t.data, [this, &a, at = i++] { one_done(a, at); });
  }
}

// A send is done when its receipt has come: it then means the same on every transport.
void TcpChannel::start_exchange(const OperationPtr& op) {
  Active& a = add_active(op);
  a.op->pieces_left = 1;
  const Round& round = a.rounds.emplace_back(plan_exchange(op->call, options_.piece_bytes));
  a.done.assign(round.receives.size() + round.sends.size(), 0);
  a.pending = a.done.size() + 1;
  a.moved = Clock::now();
  std::size_t i = 0;
  for (const Transfer& t : round.receives) {
    FrameHeader header = header_of(a, t.bytes);
    header.type = FrameType::kMessage;
    header.number = messages_from_[static_cast<std::size_t>(t.peer)]++;
    FrameHeader receipt = header_of(a, 0);
    receipt.type = FrameType::kReceipt;
    receipt.number = header.number;
    Inbox::Receive receive = receive_of(a, header, t, i++);
    receive.done = [this, receipt, from = t.peer, done = std::move(receive.done)] {
      peer(from).tell(receipt);
      done();
    };
    peer(t.peer).inbox.expect(std::move(receive));
  }
  for (const Transfer& t : round.sends) {
    FrameHeader header = header_of(a, t.bytes);
    header.type = FrameType::kMessage;
    header.number = messages_to_[static_cast<std::size_t>(t.peer)]++;
    FrameHeader receipt = header_of(a, 0);
    receipt.type = FrameType::kReceipt;
    receipt.number = header.number;
    a.op->sends(t.bytes);
    peer(t.peer).inbox.expect(receive_of(a, receipt, {t.peer, nullptr, 0}, i++));
    peer(t.peer).send(header, t.data, {});
  }
  settle(a);
}

void TcpChannel::one_done(Active& a, std::size_t i) {
  a.done[i] = 1;
  a.moved = Clock::now();
  settle(a);
}

void TcpChannel::settle(Active& a) {
  if (--a.pending > 0) return;
  if (a.rounds[a.round].then) a.rounds[a.round].then();
  if (++a.round < a.rounds.size()) return post_round(a);
  retire(a);
}

void TcpChannel::retire(Active& a) {
  const OperationPtr op = std::move(a.op);
  const bool collective = op->call.kind != CallKind::kExchange;
  if (collective) {
    --active_collectives_;
    spare_scratch_.push_back(std::move(a.scratch));
  }
  active_.erase(a.self);
  if (--op->pieces_left == 0) on_done_(op);
  if (collective) start_waiting();
}

// A message of another call with the number of one under way explains why nothing moves.
void TcpChannel::check_early(const FrameHeader& sent, int world_peer) const {
  for (const Active& a : active_) {
    if (a.op->call.kind == CallKind::kExchange || a.number != sent.number) continue;
    FrameHeader wanted = header_of(a, sent.bytes);
    const auto at = std::find(world_ranks_.begin(), world_ranks_.end(), world_peer);
    check_message(
        sent,
        {wanted, nullptr, {}, &a.op->call, rank_, static_cast<int>(at - world_ranks_.begin())});
  }
}

void TcpChannel::look_for_other_call(const Active& a) const {
  for (const int r : world_ranks_) {
    const FrameHeader* early = peers_[static_cast<std::size_t>(r)].inbox.early(id_, a.number);
    if (early != nullptr) check_early(*early, r);
  }
}

std::string TcpChannel::missing(const Active& a) const {
  const Round& round = a.rounds[a.round];
  std::vector<int> silent, deaf;
  for (std::size_t i = 0; i < a.done.size(); ++i) {
    if (a.done[i] != 0) continue;
    const bool receive = i < round.receives.size();
    std::vector<int>& list = receive ? silent : deaf;
    list.push_back(receive ? round.receives[i].peer : round.sends[i - round.receives.size()].peer);
  }
  for (std::vector<int>* list : {&silent, &deaf}) {
    std::ranges::sort(*list);
    list->erase(std::ranges::unique(*list).begin(), list->end());
  }
  if (silent.empty()) return fmt::format("rank {} takes no message", fmt::join(deaf, ", "));
  return fmt::format("no message from rank {}", fmt::join(silent, ", "));
}

void TcpChannel::forgive(Clock::duration slept) {
  if (slept == Clock::duration::zero()) return;
  for (Active& a : active_)
    a.moved = std::min(a.moved + slept, Clock::now());
}

void TcpChannel::check_stalled(Clock::time_point now) const {
  for (const Active& a : active_) {
    if (now - a.moved <= options_.timeout) continue;
    throw Error(ErrorKind::kComm,
                fmt::format("timeout: rank {} waited {} ms for {}: {}", rank_,
                            options_.timeout.count(), describe(a.op->call), missing(a)));
  }
}

void TcpChannel::abandon(std::vector<OperationPtr>& unfinished) {
  const auto add = [&](const OperationPtr& op) {
    if (unfinished.empty() || unfinished.back() != op) unfinished.push_back(op);
  };
  for (const Active& a : active_)
    add(a.op);
  for (const Waiting& w : waiting_)
    add(w.op);
  active_.clear();
  waiting_.clear();
}

}  // namespace gradwire
