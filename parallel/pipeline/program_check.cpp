#include "parallel/pipeline/program_check.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace gradwire {
namespace {

// Walks through the program of one rank; check functions return what is wrong, or nothing.
class Walk {
 public:
  Walk(const Schedule& s, int rank) : all_(s), rank_(rank) {}

  std::string run() {
    for (const Action& a : all_.program(rank_)) {
      std::string problem = done_.contains(a) ? "comes twice" : problem_of(a);
      if (!problem.empty()) return fmt::format("rank {}: {} {}", rank_, to_text(a), problem);
      done_.insert(a);
      account(a);
    }
    const std::string missing = first_missing();
    return missing.empty() ? "" : fmt::format("rank {}: {} is missing", rank_, missing);
  }

  int peak_live() const { return peak_live_; }
  int peak_split() const { return peak_split_; }

 private:
  bool have(Act act, int stage, int micro) const {
    return done_.contains(make_action(act, stage, micro));
  }
  bool mine(int stage) const {
    return stage >= 0 && stage < all_.stages() && all_.rank_of(stage) == rank_;
  }
  bool another(int stage) const {
    return stage >= 0 && stage < all_.stages() && all_.rank_of(stage) != rank_;
  }
  bool backward_done(int stage, int micro) const {
    return have(Act::kBackward, stage, micro) || have(Act::kBackwardInput, stage, micro);
  }

  std::string problem_of(const Action& a) const {
    const bool received = a.act == Act::kReceiveResult || a.act == Act::kReceiveGradient;
    if (!received && !mine(a.stage)) return "is of a stage that another rank holds";
    if (a.micro < 0 || a.micro >= all_.micros) {
      return fmt::format("is of none of {} micro-batches", all_.micros);
    }
    switch (a.act) {
      case Act::kForward: return forward(a);
      case Act::kBackward:
      case Act::kBackwardInput: return backward(a);
      case Act::kBackwardWeight:
        return have(Act::kBackwardInput, a.stage, a.micro) ? "" : "comes before its input gradient";
      case Act::kSendResult:
        if (!another(a.stage + 1)) return "goes to no other rank";
        return have(Act::kForward, a.stage, a.micro) ? "" : "comes before its forward";
      case Act::kSendGradient:
        if (!another(a.stage - 1)) return "goes to no other rank";
        return backward_done(a.stage, a.micro) ? "" : "comes before its backward";
      case Act::kReceiveResult: return received_well(a.stage, a.stage + 1);
      case Act::kReceiveGradient: return received_well(a.stage, a.stage - 1);
      case Act::kReduce: return complete(a.stage);
      case Act::kTie: return tie(a);
    }
    return "is no action";
  }

  std::string forward(const Action& a) const {
    const int before = a.stage - 1;
    const bool fed =
        before < 0 || have(mine(before) ? Act::kForward : Act::kReceiveResult, before, a.micro);
    return fed ? "" : fmt::format("comes before the result of stage {}", before);
  }

  std::string backward(const Action& a) const {
    if (backward_done(a.stage, a.micro)) return "is the second backward";
    if (!have(Act::kForward, a.stage, a.micro)) return "comes before its forward";
    const int after = a.stage + 1;
    const bool fed =
        after == all_.stages() ||
        (mine(after) ? backward_done(after, a.micro) : have(Act::kReceiveGradient, after, a.micro));
    return fed ? "" : fmt::format("comes before the gradient of stage {}", after);
  }

  std::string received_well(int from, int to) const {
    return another(from) && mine(to) ? "" : "comes from no other rank";
  }

  std::string complete(int stage) const {
    const auto found = weights_.find(stage);
    const int done = found == weights_.end() ? 0 : found->second;
    return done == all_.micros
               ? ""
               : fmt::format("comes after {} of {} gradients of its weights", done, all_.micros);
  }

  std::string tie(const Action& a) const {
    if (a.stage != 0 && a.stage != all_.stages() - 1) return "is of neither end of the pipeline";
    if (all_.ranks.size() == 1) return "has its twin on the same rank";
    if (have(Act::kReduce, a.stage, 0)) return "comes after the stage is reduced";
    return complete(a.stage);
  }

  void account(const Action& a) {
    const bool weights = a.act == Act::kBackward || a.act == Act::kBackwardWeight;
    if (weights) ++weights_[a.stage];
    live_ += a.act == Act::kForward ? 1 : weights ? -1 : 0;
    split_ += a.act == Act::kBackwardInput ? 1 : a.act == Act::kBackwardWeight ? -1 : 0;
    peak_live_ = std::max(peak_live_, live_);
    peak_split_ = std::max(peak_split_, split_);
  }

  // Ends at the first one, so that it takes no longer than the program is.
  std::string first_missing() const {
    for (int stage = rank_; stage < all_.stages(); stage += static_cast<int>(all_.ranks.size())) {
      for (int m = 0; m < all_.micros; ++m) {
        const auto text = [&](Act act) { return to_text(make_action(act, stage, m)); };
        if (!have(Act::kForward, stage, m)) return text(Act::kForward);
        if (!backward_done(stage, m)) return text(Act::kBackward);
        const bool split = have(Act::kBackwardInput, stage, m);
        if (split && !have(Act::kBackwardWeight, stage, m)) return text(Act::kBackwardWeight);
      }
      if (!have(Act::kReduce, stage, 0)) return fmt::format("{}R", stage);
    }
    return "";
  }

  const Schedule& all_;
  int rank_;
  std::set<Action> done_;
  std::map<int, int> weights_;  // stage -> micro-batches whose gradients of weights are done
  int live_ = 0, split_ = 0, peak_live_ = 0, peak_split_ = 0;
};

}  // namespace

ProgramCheck check_programs(const Schedule& s) {
  ProgramCheck check;
  if (s.ranks.empty()) check.problem = "no ranks";
  for (int r = 0; r < static_cast<int>(s.ranks.size()); ++r) {
    Walk walk(s, r);
    check.problem = walk.run();
    if (!check.problem.empty()) return check;
    check.peak_live.push_back(walk.peak_live());
    check.peak_split.push_back(walk.peak_split());
  }
  return check;
}

}  // namespace gradwire
