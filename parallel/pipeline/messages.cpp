#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {
namespace {

bool is_backward(Act act) {
  return act == Act::kBackward || act == Act::kBackwardInput;
}

bool gives_weights(Act act) {
  return act == Act::kBackward || act == Act::kBackwardWeight;
}

// An action and when: computing when it begins, a message when it is sent.
struct Timed {
  int at = 0;
  int sender = -1;  // -1: computing
  Action action;

  // One order for all ranks: by time, and of one time the messages before the computing.
  auto key() const { return std::tuple(at, sender < 0, sender); }
};

// Plans the computing in steps that all ranks take together, one action each, and sorts messages
// into it by the step after which they are sent. That is one order for all messages, which every
// rank keeps: the first message that is not yet through is always the next of both its ranks. So
// there is no deadlock, even if a send waits for its receive.
class Messages {
 public:
  Messages(const Schedule& compute, bool tied)
      : all_(compute),
        tied_(tied && compute.ranks.size() > 1),
        timed_(compute.ranks.size()),
        step_(compute.ranks.size()) {}

  Schedule add() {
    time_computing();
    Schedule out = all_;
    for (std::size_t r = 0; r < out.ranks.size(); ++r)
      out.ranks[r] = with_ends(sorted(r));
    return out;
  }

 private:
  // Every action as early as it can. What never can (the schedule is wrong) comes last, for dry_run
  // to say why.
  void time_computing() {
    std::vector<std::size_t> next(all_.ranks.size(), 0);
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t r = 0; r < all_.ranks.size(); ++r) {
        const Program& p = all_.ranks[r];
        for (; next[r] < p.size() && ready_at(p[next[r]]); ++next[r]) {
          place(r, p[next[r]], *ready_at(p[next[r]]));
          moved = true;
        }
      }
    }
    for (std::size_t r = 0; r < all_.ranks.size(); ++r)
      for (; next[r] < all_.ranks[r].size(); ++next[r])
        place(r, all_.ranks[r][next[r]], 0);
  }

  // When what `a` needs of its neighbour stage is there, if that is known.
  std::optional<int> ready_at(const Action& a) const {
    const int from = a.stage + (a.act == Act::kForward ? -1 : is_backward(a.act) ? 1 : 0);
    if (from == a.stage || from < 0 || from >= all_.stages()) return 0;
    const auto found = done_.find({a.act == Act::kForward, from, a.micro});
    return found == done_.end() ? std::nullopt : std::optional(found->second);
  }

  void place(std::size_t rank, const Action& a, int ready) {
    const int begin = std::max(step_[rank], ready);
    step_[rank] = begin + 1;
    timed_[rank].push_back({begin, -1, a});
    const bool forward = a.act == Act::kForward;
    if (!forward && !is_backward(a.act)) return;
    done_[{forward, a.stage, a.micro}] = begin + 1;
    const int to_stage = a.stage + (forward ? 1 : -1);
    if (to_stage < 0 || to_stage >= all_.stages()) return;
    const auto to = static_cast<std::size_t>(all_.rank_of(to_stage));
    if (to == rank) return;
    const auto message = [&](Act act) {
      return Timed{begin + 1, static_cast<int>(rank), {act, a.stage, a.micro}};
    };
    timed_[rank].push_back(message(forward ? Act::kSendResult : Act::kSendGradient));
    timed_[to].push_back(message(forward ? Act::kReceiveResult : Act::kReceiveGradient));
  }

  Program sorted(std::size_t rank) {
    std::stable_sort(timed_[rank].begin(), timed_[rank].end(),
                     [](const Timed& a, const Timed& b) { return a.key() < b.key(); });
    Program p;
    for (const Timed& t : timed_[rank])
      p.push_back(t.action);
    return p;
  }

  bool is_tied(int stage) const { return tied_ && (stage == 0 || stage == all_.stages() - 1); }

  // Adds what follows a stage's last gradient of weights: kReduce, after the messages that are
  // next. A tied stage waits for its twin, so that it does this when the rank has nothing else to
  // do.
  Program with_ends(const Program& p) const {
    std::map<int, std::size_t> last;  // stage -> its last gradient of weights
    for (std::size_t i = 0; i < p.size(); ++i)
      if (gives_weights(p[i].act)) last[p[i].stage] = i;
    Program out, complete;
    const auto flush = [&] {
      out.insert(out.end(), complete.begin(), complete.end());
      complete.clear();
    };
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (is_compute(p[i].act)) flush();
      out.push_back(p[i]);
      const bool completes = gives_weights(p[i].act) && last[p[i].stage] == i;
      if (completes && !is_tied(p[i].stage)) complete.push_back({Act::kReduce, p[i].stage, 0});
    }
    flush();
    for (const auto& [stage, at] : last) {
      if (!is_tied(stage)) continue;
      out.push_back(make_action(Act::kTie, stage, 0));
      out.push_back(make_action(Act::kReduce, stage, 0));
    }
    return out;
  }

  const Schedule& all_;
  bool tied_;
  std::vector<std::vector<Timed>> timed_;           // per rank
  std::vector<int> step_;                           // per rank: free from then on
  std::map<std::tuple<bool, int, int>, int> done_;  // (forward?, stage, micro) -> from when
};

}  // namespace

Schedule with_messages(Schedule compute_only, bool tied) {
  for (const Program& p : compute_only.ranks) {
    for (const Action& a : p) {
      if (!is_compute(a.act)) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("schedule: messages are to be added, but there is {} already", to_text(a)));
      }
    }
  }
  return Messages(compute_only, tied).add();
}

}  // namespace gradwire
