// Who has come, while the ranks of a TCP world meet. Every rank keeps one connection to rank 0, by
// which both say every second that they live; rank 0 alone decides how the meeting ends, and tells
// the others. A rank that goes before all have come may come back for some seconds, as one that is
// started again; later, a loss ends the meeting. A rank that is silent is named, and waited for as
// long as the timeout. Used on the thread of the io_context only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/greeting.h"
#include "comm/tcp/hello.h"
#include "comm/tcp/meeting_link.h"
#include "comm/tcp/tcp_comm.h"

namespace gradwire {

struct MeetingEnd {
  enum How { kMet, kStopped, kFailed } how = kMet;
  std::string why;  // failed
};
using OnMeetingEnd = std::function<void(const MeetingEnd&)>;

// On rank 0.
class Roll {
 public:
  using Clock = MeetingLink::Clock;
  using Socket = boost::asio::ip::tcp::socket;

  // `on_end` is called once; the others have then been told, as far as flushed() says.
  Roll(const TcpOptions& options, OnMeetingEnd on_end);

  // Why this rank cannot come in; empty: it can.
  std::string objection(int rank) const;
  void enter(const Guest& guest, Socket socket);
  void ready();  // rank 0 itself
  void fail(const std::string& why);
  // `slept`: for how long this process did not run since the last tick.
  void tick(Clock::time_point now, Clock::duration slept);

  bool flushed() const;
  // After a stop: those who come now must hear of it as well.
  bool awaits_more() const { return here_ < options_.size - 1; }
  std::string host(int rank) const { return to_string(at(rank).contact.host); }
  Socket release(int rank) { return members_[static_cast<std::size_t>(rank)].link->release(); }

 private:
  struct Member {
    std::shared_ptr<MeetingLink> link;  // null: not here
    Contact contact{};
    std::optional<Clock::time_point> gone;
    bool silent = false;
  };
  const Member& at(int rank) const { return members_[static_cast<std::size_t>(rank)]; }
  std::string name(int rank) const;
  void heard(int rank, FrameType type, const std::string& payload);
  void lost(int rank);
  void look_at(int rank, Clock::time_point now);
  void forgive(Clock::duration slept);
  void send_table();
  void name_missing(Clock::time_point now);
  void stop();
  void end(MeetingEnd::How how, FrameType tell, const std::string& why);
  void tell_all(FrameType type, const std::string& text = {});
  void news(const std::string& text);
  std::string missing() const;
  std::string overdue() const;
  std::string loss_of(int rank) const;

  const TcpOptions& options_;
  const OnMeetingEnd on_end_;
  std::vector<Member> members_;  // by rank
  std::optional<MeetingEnd> ended_;
  bool complete_ = false;  // all have come: the table is on its way
  int here_ = 0, ready_ = 0;
  Clock::time_point begin_ = Clock::now(), deadline_, pulse_ = begin_;
  Clock::time_point said_missing_ = begin_;
  int missing_then_ = 0;
};

// On every other rank, once rank 0 has let it in.
class Seat {
 public:
  using Clock = MeetingLink::Clock;
  using Socket = boost::asio::ip::tcp::socket;
  struct Events {
    std::function<void(const Contact& parent)> parent;    // where the table can be had
    std::function<void(const std::string& bytes)> table;  // it has come
    OnMeetingEnd end;
  };

  Seat(Socket to_rank_0, const TcpOptions& options, Events events);

  void ready();
  // Something is wrong here: rank 0 decides what it means, if it still lives.
  void fail(const std::string& why);
  void tick(Clock::time_point now, Clock::duration slept);
  bool flushed() const { return link_->flushed(); }
  Socket release() { return link_->release(); }

 private:
  void heard(FrameType type, const std::string& payload);
  void lost();
  void listen_to_rank_0(Clock::time_point now);
  void end(MeetingEnd::How how, const std::string& why = {});

  const TcpOptions& options_;
  const Events events_;
  std::shared_ptr<MeetingLink> link_;
  std::optional<Clock::time_point> asked_to_stop_, failed_;
  std::string why_;
  bool ended_ = false;
  bool silent_ = false;
  Clock::time_point pulse_ = Clock::now();
};

}  // namespace gradwire
