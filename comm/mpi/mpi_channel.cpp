#include "comm/mpi/mpi_channel.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::size_t kPiecesUnderWay = 2;
constexpr auto kLookAround = std::chrono::seconds(1);

// Tags tell pieces and rounds apart and carry enough of the call to notice that ranks disagree:
// [piece number | kind 3 | dtype 3 | op 3 | round 2].
constexpr int kSignatureBits = 11;
constexpr int kRoundBits = 2;

int signature_of(const Call& call, std::size_t round) {
  return (static_cast<int>(call.kind) << 8) | (static_cast<int>(call.dtype) << 5) |
         (static_cast<int>(call.op) << kRoundBits) | static_cast<int>(round);
}
CallKind kind_in(int tag) {
  return static_cast<CallKind>((tag >> 8) & 7);
}
DType dtype_in(int tag) {
  return static_cast<DType>((tag >> 5) & 7);
}

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(comm, &copy), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}

}  // namespace

void check_mpi(int rc, const char* function) {
  if (rc == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(rc, text, &length);
  throw Error(ErrorKind::kComm, fmt::format("{}: {}", function, text));
}

MpiChannel::MpiChannel(MPI_Comm comm, const MpiOptions& options)
    : collectives_(duplicate(comm)), messages_(duplicate(comm)), options_(options) {
  check_mpi(MPI_Comm_rank(collectives_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(collectives_, &size_), "MPI_Comm_size");
  void* highest_tag = nullptr;
  int found = 0;
  check_mpi(MPI_Comm_get_attr(collectives_, MPI_TAG_UB, &highest_tag, &found), "MPI_Comm_get_attr");
  const int highest = found != 0 ? *static_cast<int*>(highest_tag) : 32767;
  sequence_period_ = (static_cast<std::uint64_t>(highest) + 1) >> kSignatureBits;
}

int MpiChannel::tag_of(const Active& a) const {
  const int number = static_cast<int>(a.number % sequence_period_);
  return (number << kSignatureBits) | signature_of(a.op->call, a.round);
}

void MpiChannel::submit(const OperationPtr& op) {
  if (op->call.kind == CallKind::kExchange) return new_exchanges_.push_back(op);
  const std::vector<Piece> pieces = cut_into_pieces(op->call, size_, options_.piece_bytes);
  op->pieces_left = pieces.size();
  if (pieces.empty()) nothing_to_send_.push_back(op);
  for (const Piece& piece : pieces)
    waiting_.push_back({op, piece, pieces_++});
}

void MpiChannel::start_exchange(OperationPtr op) {
  Active& a = active_.emplace_back();
  a.op = std::move(op);
  a.op->pieces_left = 1;
  a.rounds.push_back(plan_exchange(a.op->call, options_.piece_bytes));
  post_round(a);
}

void MpiChannel::activate(Waiting next) {
  Active& a = active_.emplace_back();
  a.op = std::move(next.op);
  a.number = next.number;
  if (!spare_scratch_.empty()) {
    a.scratch = std::move(spare_scratch_.back());
    spare_scratch_.pop_back();
  }
  a.rounds = plan_rounds(a.op->call, rank_, size_, next.piece, a.scratch);
  ++active_collectives_;
  post_round(a);
}

// Receives first: a message that finds its receive posted is not buffered. Exchanges send
// synchronously, so that a send means the same on every transport: done when received.
void MpiChannel::post_round(Active& a) {
  const Round& round = a.rounds[a.round];
  const bool exchange = a.op->call.kind == CallKind::kExchange;
  const MPI_Comm comm = exchange ? messages_ : collectives_;
  const int tag = exchange ? 0 : tag_of(a);
  a.pending = round.receives.size() + round.sends.size();
  a.requests.assign(a.pending, MPI_REQUEST_NULL);
  a.arrived.assign(a.pending, 0);
  a.moved = Clock::now();
  std::size_t i = 0;
  for (const Transfer& t : round.receives) {
    check_mpi(
        MPI_Irecv(t.data, static_cast<int>(t.bytes), MPI_BYTE, t.peer, tag, comm, &a.requests[i++]),
        "MPI_Irecv");
  }
  for (const Transfer& t : round.sends) {
    const auto send = exchange ? MPI_Issend : MPI_Isend;
    check_mpi(
        send(t.data, static_cast<int>(t.bytes), MPI_BYTE, t.peer, tag, comm, &a.requests[i++]),
        "MPI_Isend");
    a.op->sends(t.bytes);
  }
}

void MpiChannel::check_arrival(const Active& a, std::size_t request,
                               const MPI_Status& status) const {
  const Round& round = a.rounds[a.round];
  if (request >= round.receives.size()) return;
  const Transfer& t = round.receives[request];
  int bytes = 0;
  check_mpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  if (static_cast<std::size_t>(bytes) == t.bytes) return;
  throw Error(ErrorKind::kComm,
              fmt::format("ranks disagree: {}: rank {} sends {} bytes to rank {}, which expects {}",
                          describe(a.op->call), t.peer, bytes, rank_, t.bytes));
}

bool MpiChannel::progress_one(Active& a) {
  const std::size_t before = a.pending;
  if (a.pending > 0) {
    indices_.resize(a.requests.size());
    statuses_.resize(a.requests.size());
    int count = 0;
    const int rc = MPI_Testsome(static_cast<int>(a.requests.size()), a.requests.data(), &count,
                                indices_.data(), statuses_.data());
    if (rc != MPI_ERR_IN_STATUS) check_mpi(rc, "MPI_Testsome");
    for (int k = 0; k < count; ++k) {
      const auto which = static_cast<std::size_t>(indices_[static_cast<std::size_t>(k)]);
      const MPI_Status& status = statuses_[static_cast<std::size_t>(k)];
      if (rc == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_SUCCESS) {
        const Round& round = a.rounds[a.round];
        const bool receive = which < round.receives.size();
        throw Error(
            ErrorKind::kComm,
            fmt::format("ranks disagree: {}: rank {} sends more bytes to rank {} than the {} it "
                        "expects",
                        describe(a.op->call), receive ? round.receives[which].peer : rank_, rank_,
                        receive ? round.receives[which].bytes : 0));
      }
      check_arrival(a, which, status);
      a.arrived[which] = 1;
      --a.pending;
    }
  }
  if (a.pending < before) a.moved = Clock::now();
  return a.pending < before;
}

bool MpiChannel::progress(std::vector<OperationPtr>& finished) {
  bool moved = !nothing_to_send_.empty() || !new_exchanges_.empty();
  finished.insert(finished.end(), nothing_to_send_.begin(), nothing_to_send_.end());
  nothing_to_send_.clear();
  while (!new_exchanges_.empty()) {
    OperationPtr op = std::move(new_exchanges_.front());
    new_exchanges_.pop_front();
    start_exchange(std::move(op));
  }
  while (active_collectives_ < kPiecesUnderWay && !waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    activate(std::move(next));
    moved = true;
  }
  for (auto a = active_.begin(); a != active_.end();) {
    moved |= progress_one(*a);
    if (a->pending > 0) {
      ++a;
      continue;
    }
    finish_round(*a);
    if (a->round < a->rounds.size()) continue;
    if (--a->op->pieces_left == 0) finished.push_back(a->op);
    if (a->op->call.kind != CallKind::kExchange) {
      --active_collectives_;
      spare_scratch_.push_back(std::move(a->scratch));
    }
    a = active_.erase(a);
    moved = true;
  }
  return moved;
}

void MpiChannel::finish_round(Active& a) {
  if (a.rounds[a.round].then) a.rounds[a.round].then();
  if (++a.round < a.rounds.size()) post_round(a);
}

std::string MpiChannel::missing(const Active& a) const {
  const Round& round = a.rounds[a.round];
  std::vector<int> silent, deaf;
  for (std::size_t i = 0; i < a.requests.size(); ++i) {
    if (a.arrived[i] != 0) continue;
    const bool receive = i < round.receives.size();
    const int peer = receive ? round.receives[i].peer : round.sends[i - round.receives.size()].peer;
    std::vector<int>& list = receive ? silent : deaf;
    if (std::find(list.begin(), list.end(), peer) == list.end()) list.push_back(peer);
  }
  std::sort(silent.begin(), silent.end());
  std::sort(deaf.begin(), deaf.end());
  if (silent.empty()) return fmt::format("rank {} takes no message", fmt::join(deaf, ", "));
  return fmt::format("no message from rank {}", fmt::join(silent, ", "));
}

// A message of another call with the number of this one explains why nothing moves.
void MpiChannel::look_for_other_call(const Active& a) const {
  const int number = tag_of(a) >> kSignatureBits;
  for (int peer = 0; peer < size_; ++peer) {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(peer, MPI_ANY_TAG, collectives_, &found, &status), "MPI_Iprobe");
    if (found == 0) continue;
    const int tag = status.MPI_TAG;
    const bool same_call = ((tag ^ tag_of(a)) & ((1 << kSignatureBits) - (1 << kRoundBits))) == 0;
    if (tag >> kSignatureBits != number || same_call) continue;
    throw Error(
        ErrorKind::kComm,
        fmt::format("ranks disagree: rank {} calls {} of {}, rank {} calls {}", peer,
                    name_of(kind_in(tag)), name_of(dtype_in(tag)), rank_, describe(a.op->call)));
  }
}

void MpiChannel::forgive(Clock::duration slept) {
  if (slept == Clock::duration::zero()) return;
  for (Active& a : active_)
    a.moved = std::min(a.moved + slept, Clock::now());
}

void MpiChannel::check_stalled(Clock::time_point now) {
  for (const Active& a : active_) {
    const auto still = now - a.moved;
    if (still > kLookAround && a.op->call.kind != CallKind::kExchange) look_for_other_call(a);
    if (still <= options_.timeout) continue;
    throw Error(ErrorKind::kComm,
                fmt::format("timeout: rank {} waited {} ms for {}: {}", rank_,
                            options_.timeout.count(), describe(a.op->call), missing(a)));
  }
}

void MpiChannel::cancel() {
  for (Active& a : active_) {
    const std::size_t receives = std::min(a.rounds[a.round].receives.size(), a.requests.size());
    for (std::size_t i = 0; i < receives; ++i) {
      if (a.requests[i] != MPI_REQUEST_NULL) MPI_Cancel(&a.requests[i]);
    }
  }
}

void MpiChannel::abandon(std::vector<OperationPtr>& unfinished) {
  const auto add = [&](const OperationPtr& op) {
    if (unfinished.empty() || unfinished.back() != op) unfinished.push_back(op);
  };
  for (const Active& a : active_)
    add(a.op);
  for (const Waiting& w : waiting_)
    add(w.op);
  for (const OperationPtr& op : new_exchanges_)
    add(op);
  for (const OperationPtr& op : nothing_to_send_)
    add(op);
  active_.clear();
  waiting_.clear();
}

void MpiChannel::free() {
  check_mpi(MPI_Comm_free(&collectives_), "MPI_Comm_free");
  check_mpi(MPI_Comm_free(&messages_), "MPI_Comm_free");
}

}  // namespace gradwire
