#include "parallel/pipeline/dry_run_engine.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include <fmt/format.h>

namespace gradwire {
namespace {

// One message, or the meeting of a tied parameter: done when both sides have come.
struct Meeting {
  Action sent{}, received{};
  std::optional<double> sent_s, received_s;  // when each side came
};

// From one rank to another: the n-th send meets the n-th receive.
class Channel {
 public:
  Meeting& next(bool sends) {
    std::size_t& count = sends ? sends_ : receives_;
    if (count == meetings_.size()) meetings_.emplace_back();
    return meetings_[count++];
  }

 private:
  std::deque<Meeting> meetings_;  // parts point into it
  std::size_t sends_ = 0, receives_ = 0;
};

// One side of a meeting.
struct Part {
  Meeting* meeting = nullptr;
  bool sends = false;
  bool tie = false;
  int peer = 0;
  std::size_t at = 0;  // in the program
};

struct RankState {
  std::size_t next = 0;  // action
  double clock_s = 0.0;
  std::vector<Part> parts;              // of the exchange it is in
  std::map<Action, Meeting*> received;  // posted so far
};

// What a compute action uses of another rank's, if its neighbour stage is there.
Action needed(const Action& a) {
  const bool forward = a.act == Act::kForward;
  return make_action(forward ? Act::kReceiveResult : Act::kReceiveGradient,
                     a.stage + (forward ? -1 : 1), a.micro);
}

// Ranks run for as long as they can, one after another: who goes first changes no time, since every
// rank has a clock of its own and messages of two ranks keep their order.
class Engine {
 public:
  Engine(const Schedule& s, SendModel model, const Costs& costs, DryRun& out)
      : all_(s), model_(model), costs_(costs), out_(out), ranks_(s.ranks.size()) {
    out_.busy_s.assign(ranks_.size(), 0.0);
  }

  void run() {
    for (bool moved = true; moved && out_.problem.empty();) {
      moved = false;
      for (int r = 0; r < static_cast<int>(ranks_.size()); ++r)
        while (out_.problem.empty() && advance(r))
          moved = true;
    }
    if (out_.problem.empty()) out_.problem = deadlock();
  }

 private:
  RankState& state(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  bool advance(int rank) {
    RankState& r = state(rank);
    if (!r.parts.empty()) return end_exchange(rank);
    if (r.next == all_.program(rank).size()) return false;
    const Action& a = all_.program(rank)[r.next];
    if (is_message(a.act) || a.act == Act::kTie) return begin_exchange(rank);
    return compute(rank, a);
  }

  bool compute(int rank, const Action& a) {
    RankState& r = state(rank);
    const auto need = r.received.find(needed(a));
    if (need != r.received.end()) {
      const Meeting& m = *need->second;
      if (!m.sent_s) return false;
      r.clock_s = std::max(r.clock_s, *m.sent_s + costs_.message_s);
    }
    const double seconds = seconds_of(a);
    out_.busy_s[static_cast<std::size_t>(rank)] += seconds;
    finish(rank, a, r.clock_s, r.clock_s + seconds);
    ++r.next;
    return true;
  }

  void finish(int rank, const Action& a, double begin_s, double end_s) {
    out_.timeline.push_back({rank, a, begin_s, end_s});
    state(rank).clock_s = std::max(state(rank).clock_s, end_s);
    out_.makespan_s = std::max(out_.makespan_s, end_s);
  }

  static double cost_of(const std::vector<double>& costs, int stage) {
    return costs[costs.size() == 1 ? 0 : static_cast<std::size_t>(stage)];
  }

  double seconds_of(const Action& a) const {
    const double input_s = cost_of(costs_.backward_input_s, a.stage);
    const double weight_s = cost_of(costs_.backward_weight_s, a.stage);
    switch (a.act) {
      case Act::kForward: return cost_of(costs_.forward_s, a.stage);
      case Act::kBackward: return input_s + weight_s;
      case Act::kBackwardInput: return input_s;
      case Act::kBackwardWeight: return weight_s;
      default: return 0.0;
    }
  }

  bool begin_exchange(int rank) {
    RankState& r = state(rank);
    const Program& p = all_.program(rank);
    std::size_t end = r.next + 1;
    if (model_ == SendModel::kGrouped && is_message(p[r.next].act)) {
      while (end < p.size() && is_message(p[end].act))
        ++end;
    }
    for (std::size_t at = r.next; at < end; ++at)
      r.parts.push_back(post(rank, at));
    return true;
  }

  // The other side of a message; the messages are known to go to another rank.
  int peer_of(const Action& a) const {
    switch (a.act) {
      case Act::kSendResult: return all_.rank_of(a.stage + 1);
      case Act::kSendGradient: return all_.rank_of(a.stage - 1);
      case Act::kTie: return all_.rank_of(a.stage == 0 ? all_.stages() - 1 : 0);
      default: return all_.rank_of(a.stage);
    }
  }

  Part post(int rank, std::size_t at) {
    const Action& a = all_.program(rank)[at];
    const bool tie = a.act == Act::kTie;
    const int peer = peer_of(a);
    const bool sends = is_send(a.act) || (tie && a.stage == 0);
    Channel& channel =
        tie ? ties_ : channels_[sends ? std::pair(rank, peer) : std::pair(peer, rank)];
    Meeting& m = channel.next(sends);
    (sends ? m.sent : m.received) = a;
    (sends ? m.sent_s : m.received_s) = state(rank).clock_s;
    if (m.sent_s && m.received_s && !tie) compare(m, sends ? peer : rank, sends ? rank : peer);
    if (!sends && !tie) state(rank).received[a] = &m;
    return {&m, sends, tie, peer, at};
  }

  // check_programs has seen that all is received that somebody uses, and once; so what is left to
  // find is another order, and what is never sent.
  void compare(const Meeting& m, int receiver, int sender) {
    const Act wanted =
        m.received.act == Act::kReceiveResult ? Act::kSendResult : Act::kSendGradient;
    const bool same = m.sent == Action{wanted, m.received.stage, m.received.micro};
    if (same || !out_.problem.empty()) return;
    out_.problem = fmt::format("rank {} receives {} where rank {} sends {}", receiver,
                               to_text(m.received), sender, to_text(m.sent));
  }

  // When this side is done with it, if it can be.
  std::optional<double> end_of(const Part& p) const {
    const Meeting& m = *p.meeting;
    if (model_ == SendModel::kEager && !p.tie) return p.sends ? m.sent_s : m.received_s;
    if (!m.sent_s || !m.received_s) return std::nullopt;
    return std::max(*m.received_s, *m.sent_s) + costs_.message_s;
  }

  bool end_exchange(int rank) {
    RankState& r = state(rank);
    if (!std::all_of(r.parts.begin(), r.parts.end(), [&](const Part& p) { return end_of(p); }))
      return false;
    const double begin_s = r.clock_s;
    for (const Part& p : r.parts)
      finish(rank, all_.program(rank)[p.at], begin_s, *end_of(p));
    r.next += r.parts.size();
    r.parts.clear();
    return true;
  }

  std::string deadlock() const {
    std::string waits;
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      const auto& [next, clock_s, parts, received] = ranks_[r];
      if (next == all_.ranks[r].size()) continue;
      const auto open =
          std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return !end_of(p); });
      const Action& a = all_.ranks[r][open == parts.end() ? next : open->at];
      const int peer = open == parts.end() ? peer_of(needed(a)) : open->peer;
      const auto p = static_cast<std::size_t>(peer);
      waits += fmt::format("{}rank {} waits in {} for rank {}{}", waits.empty() ? "" : "; ", r,
                           to_text(a), peer,
                           ranks_[p].next == all_.ranks[p].size() ? ", which has ended" : "");
    }
    return waits.empty() ? "" : "deadlock: " + waits;
  }

  const Schedule& all_;
  SendModel model_;
  const Costs& costs_;
  DryRun& out_;
  std::vector<RankState> ranks_;
  std::map<std::pair<int, int>, Channel> channels_;  // (from, to)
  Channel ties_;                                     // the first stage "sends"
};

}  // namespace

void run_programs(const Schedule& s, SendModel model, const Costs& costs, DryRun& out) {
  Engine(s, model, costs, out).run();
}

}  // namespace gradwire
