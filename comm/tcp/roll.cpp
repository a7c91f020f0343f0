#include "comm/tcp/roll.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/rank_list.h"
#include "comm/tcp/doors.h"
#include "core/error.h"
#include "core/host_name.h"
#include "core/printable.h"

namespace gradwire {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr std::size_t kMostText = 4096;
// One that was killed and started again is back by then.
constexpr seconds kReturn(5);
// For rank 0 to say what a trouble here comes from.
constexpr seconds kVerdict(2);

// Silence that is no pause any more.
std::chrono::milliseconds end_of_patience(const TcpOptions& options) {
  return std::max(options.timeout, kMeetingSilence + kMeetingPulse);
}

std::string lost_text(const std::string& who) {
  return fmt::format(
      "{} was lost at {:%H:%M:%S} while ranks met: its connection closed without a "
      "goodbye",
      who, fmt::localtime(std::time(nullptr)));
}
std::string silence_text(const std::string& who, MeetingLink::Clock::duration time) {
  return fmt::format(
      "{} has been silent for {} s while ranks meet: its process is stopped, or the "
      "network pauses",
      who, duration_cast<seconds>(time).count());
}

std::string bytes_of(const Contact& contact) {
  return {reinterpret_cast<const char*>(&contact), sizeof contact};
}

}  // namespace

Roll::Roll(const TcpOptions& options, OnMeetingEnd on_end)
    : options_(options),
      on_end_(std::move(on_end)),
      members_(static_cast<std::size_t>(options.size)),
      deadline_(begin_ + options.timeout) {
  members_[0].contact.host = to_text<68>(host_name());
}

std::string Roll::name(int rank) const {
  return fmt::format("rank {} on host {}", rank, host(rank));
}

std::string Roll::objection(int rank) const {
  const Member& m = at(rank);
  if (ended_ && ended_->how == MeetingEnd::kFailed) return ended_->why;
  const bool alive = m.link && !m.silent;
  return complete_ || alive ? fmt::format("there is a rank {} already", rank) : "";
}

void Roll::enter(const Guest& guest, Socket socket) {
  const int rank = guest.hello.rank;
  const std::string from = socket.remote_endpoint().address().to_string();
  Member& m = members_[static_cast<std::size_t>(rank)];
  if (m.link) {
    m.link->close();
  } else {
    ++here_;
  }
  m.contact = {to_text<48>(from), guest.hello.host, guest.hello.port};
  const bool was_silent = std::exchange(m.silent, false);
  const bool was_gone = std::exchange(m.gone, std::nullopt).has_value();
  m.link = std::make_shared<MeetingLink>(std::move(socket), kMostText);
  m.link->send_bytes({reinterpret_cast<const char*>(&guest.welcome), sizeof guest.welcome});
  m.link->start([this, rank](FrameType type, const std::string& p) { heard(rank, type, p); },
                [this, rank] { lost(rank); });
  if (ended_) return m.link->send(FrameType::kStop);
  if (was_silent || was_gone) news(name(rank) + " has come back");
  if (here_ == options_.size - 1) send_table();
}

void Roll::send_table() {
  complete_ = true;
  deadline_ = Clock::now() + options_.timeout;
  std::string table;
  for (const Member& m : members_)
    table += bytes_of(m.contact);
  for (int r = 1; r < options_.size; ++r) {
    MeetingLink& link = *members_[static_cast<std::size_t>(r)].link;
    const int parent = parent_of(r);
    if (parent == 0) {
      link.send(FrameType::kTable, table);
    } else {
      link.send(FrameType::kParent, bytes_of(at(parent).contact));
    }
  }
}

void Roll::heard(int rank, FrameType type, const std::string& payload) {
  if (ended_) return;
  if (type == FrameType::kReady) ready();
  if (type == FrameType::kAbort) fail(fmt::format("rank {}: {}", rank, printable_line(payload)));
  if (type == FrameType::kStop) stop();
}

void Roll::ready() {
  if (++ready_ < options_.size) return;
  for (const Member& m : members_)
    if (m.link) m.link->stop_reading();
  end(MeetingEnd::kMet, FrameType::kGo, "");
}

void Roll::fail(const std::string& why) {
  end(MeetingEnd::kFailed, FrameType::kAbort, why);
}

void Roll::stop() {
  end(MeetingEnd::kStopped, FrameType::kStop, "");
}

void Roll::end(MeetingEnd::How how, FrameType tell, const std::string& why) {
  if (ended_) return;
  ended_ = {how, why};
  tell_all(tell, why.substr(0, kMostText));
  on_end_(*ended_);
}

void Roll::tell_all(FrameType type, const std::string& text) {
  for (const Member& m : members_)
    if (m.link) m.link->send(type, text);
}

void Roll::news(const std::string& text) {
  options_.hooks.tell(text);
  tell_all(FrameType::kNews, text);
}

std::string Roll::loss_of(int rank) const {
  return lost_text(name(rank));
}

void Roll::lost(int rank) {
  Member& m = members_[static_cast<std::size_t>(rank)];
  m.link.reset();
  --here_;
  if (ended_) return;
  if (complete_) return fail(loss_of(rank));
  m.gone = Clock::now();
  news(fmt::format("{} has gone while ranks meet; it may come back within {} s", name(rank),
                   kReturn.count()));
}

void Roll::forgive(Clock::duration slept) {
  deadline_ += slept;
  for (Member& m : members_) {
    if (m.link) m.link->heard_at = std::min(m.link->heard_at + slept, Clock::now());
    if (m.gone) *m.gone += slept;
  }
}

void Roll::tick(Clock::time_point now, Clock::duration slept) {
  if (ended_) return;
  forgive(slept);
  if (options_.hooks.stop()) return stop();
  if (now > deadline_) return fail(overdue());
  for (int r = 1; r < options_.size && !ended_; ++r)
    look_at(r, now);
  if (ended_) return;
  if (now - pulse_ >= kMeetingPulse) {
    pulse_ = now;
    tell_all(FrameType::kPulse);
  }
  if (!complete_ && now - said_missing_ >= kMeetingLong) name_missing(now);
}

// Again only if others are missing than before.
void Roll::name_missing(Clock::time_point now) {
  said_missing_ = now;
  const int left = options_.size - 1 - here_;
  if (std::exchange(missing_then_, left) != left) options_.hooks.tell(missing());
}

void Roll::look_at(int rank, Clock::time_point now) {
  Member& m = members_[static_cast<std::size_t>(rank)];
  if (m.gone && now - *m.gone > kReturn) return fail(loss_of(rank));
  if (!m.link) return;
  const Clock::duration silence = now - m.link->heard_at;
  if (silence > end_of_patience(options_)) return fail(silence_text(name(rank), silence));
  const bool silent = silence > kMeetingSilence;
  if (silent == std::exchange(m.silent, silent)) return;
  news(silent ? silence_text(name(rank), silence) : name(rank) + " is heard again");
}

std::string Roll::missing() const {
  std::vector<std::size_t> absent;
  for (std::size_t r = 1; r < members_.size(); ++r)
    if (!members_[r].link) absent.push_back(r);
  return fmt::format("{} of {} ranks came to {}; missing: {}", here_ + 1, options_.size,
                     where_ranks_meet(options_), ranks_text(absent));
}

std::string Roll::overdue() const {
  const std::string what =
      complete_ ? fmt::format("not all of {} ranks could connect to each other", options_.size)
                : missing();
  return fmt::format("tcp: rank 0 waited {} ms: {}", options_.timeout.count(), what);
}

bool Roll::flushed() const {
  return std::ranges::all_of(members_,
                             [](const Member& m) { return !m.link || m.link->flushed(); });
}

Seat::Seat(Socket to_rank_0, const TcpOptions& options, Events events)
    : options_(options), events_(std::move(events)) {
  const std::size_t table = sizeof(Contact) * static_cast<std::size_t>(options.size);
  link_ = std::make_shared<MeetingLink>(std::move(to_rank_0), std::max(table, kMostText));
  link_->start([this](FrameType type, const std::string& p) { heard(type, p); },
               [this] { lost(); });
}

void Seat::ready() {
  link_->send(FrameType::kReady);
}

void Seat::fail(const std::string& why) {
  if (ended_ || failed_) return;
  failed_ = Clock::now();
  why_ = why;
  link_->send(FrameType::kAbort, why.substr(0, kMostText));
}

void Seat::heard(FrameType type, const std::string& payload) {
  if (ended_) return;
  switch (type) {
    case FrameType::kParent: {
      check(payload.size() == sizeof(Contact), ErrorKind::kComm, "tcp: rank 0 speaks nonsense");
      Contact parent;
      std::memcpy(&parent, payload.data(), sizeof parent);
      return events_.parent(parent);
    }
    case FrameType::kTable: return events_.table(payload);
    case FrameType::kGo: link_->stop_reading(); return end(MeetingEnd::kMet);
    case FrameType::kStop: return end(MeetingEnd::kStopped);
    case FrameType::kAbort: return end(MeetingEnd::kFailed, printable_line(payload));
    case FrameType::kNews: return options_.hooks.tell(printable_line(payload));
    default: return;
  }
}

void Seat::lost() {
  if (asked_to_stop_) return end(MeetingEnd::kStopped);
  end(MeetingEnd::kFailed, failed_ ? why_ : lost_text("rank 0 at " + where_ranks_meet(options_)));
}

void Seat::tick(Clock::time_point now, Clock::duration slept) {
  if (ended_) return;
  link_->heard_at = std::min(link_->heard_at + slept, now);
  if (failed_ && now - *failed_ > kVerdict) return end(MeetingEnd::kFailed, why_);
  if (asked_to_stop_ && now - *asked_to_stop_ > kMeetingStop) return end(MeetingEnd::kStopped);
  if (!asked_to_stop_ && options_.hooks.stop()) {
    asked_to_stop_ = now;
    link_->send(FrameType::kStop);
  }
  if (now - pulse_ >= kMeetingPulse) {
    pulse_ = now;
    link_->send(FrameType::kPulse);
  }
  listen_to_rank_0(now);
}

void Seat::listen_to_rank_0(Clock::time_point now) {
  const std::string name = "rank 0 at " + where_ranks_meet(options_);
  const Clock::duration silence = now - link_->heard_at;
  if (silence > end_of_patience(options_)) {
    return end(MeetingEnd::kFailed, silence_text(name, silence));
  }
  const bool silent = silence > kMeetingSilence;
  if (silent == std::exchange(silent_, silent)) return;
  options_.hooks.tell(silent ? silence_text(name, silence) : name + " is heard again");
}

void Seat::end(MeetingEnd::How how, const std::string& why) {
  if (std::exchange(ended_, true)) return;
  events_.end({how, why});
}

}  // namespace gradwire
