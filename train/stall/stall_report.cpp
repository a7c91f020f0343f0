#include "train/stall/stall_report.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/printable.h"

namespace gradwire {
namespace {

// From a time in the status of a rank to now, which is so long after its last heartbeat.
std::int64_t ms_since(const SeenRank& seen, std::int64_t then_ms) {
  return std::max<std::int64_t>(seen.status->heartbeat_ms + seen.quiet_ms - then_ms, 0);
}
double seconds_since(const SeenRank& seen, std::int64_t then_ms) {
  return static_cast<double>(ms_since(seen, then_ms)) / 1e3;
}

template <std::size_t N>
std::string text_of(const std::array<char, N>& chars) {
  return printable_word({chars.data(), std::find(chars.begin(), chars.end(), '\0')});
}

bool waits(const RankStatus& s) {
  return s.waits_for.group >= 0;
}

const GroupStatus& group_of(const RankStatus& s, const CallStatus& call) {
  const auto at = static_cast<std::size_t>(call.group);
  return s.groups[std::min(at, s.groups.size() - 1)];
}

std::string call_text(const RankStatus& s, const CallStatus& call) {
  return fmt::format("{} #{} of {}", name_of(call.kind), call.sequence,
                     text_of(group_of(s, call).name));
}

std::string doing_text(const RankStatus& s) {
  switch (s.doing) {
    case Doing::kBetweenSteps: return "between two steps";
    case Doing::kBegin: return "beginning the step";
    case Doing::kAction: return describe(s.action);
    case Doing::kGradients: return "adding up gradients";
    case Doing::kAgreement: return "agreeing on the step";
    case Doing::kUpdate: return "updating parameters";
  }
  return "?";
}

// Whom a collective waits for: the ranks of its group that have not begun it; if all have, any
// of the others.
std::string others_in(const StallView& view, const RankStatus& s) {
  const GroupStatus& group = group_of(s, s.waits_for);
  std::vector<int> missing, begun;
  for (const SeenRank& seen : view.ranks) {
    if (!seen.status || seen.status->rank == s.rank) continue;
    for (const GroupStatus& other : seen.status->groups) {
      if (other.name != group.name || other.first != group.first) continue;
      (other.collectives <= s.waits_for.sequence ? missing : begun).push_back(seen.status->rank);
    }
  }
  if (!missing.empty()) return fmt::format("rank {}", fmt::join(missing, ", "));
  if (begun.empty()) return "ranks that cannot be seen";
  return fmt::format("rank {} (begun too)", fmt::join(begun, ", "));
}

std::string waits_text(const StallView& view, const SeenRank& seen) {
  const RankStatus& s = *seen.status;
  if (!waits(s)) return "nobody";
  const std::string whom = s.waits_for.kind == CallKind::kExchange
                               ? fmt::format("rank {}", s.waits_for.peer)
                               : others_in(view, s);
  return fmt::format("{}: {}, {:.1f} s", whom, call_text(s, s.waits_for),
                     seconds_since(seen, s.waits_since_ms));
}

// Why the process does nothing at all, or empty.
std::string silence(const StallView& view, const SeenRank& seen) {
  switch (seen.process) {
    case SeenRank::kGone: return "its process is gone";
    case 'T':
    case 't': return "its process was stopped by a signal";
    case 'Z':
    case 'X': return "its process has ended";
    default: break;
  }
  if (seen.quiet_ms <= view.silent_after_ms) return "";
  return fmt::format("no sign of life for {:.1f} s", static_cast<double>(seen.quiet_ms) / 1e3);
}

using Row = std::array<std::string, 7>;

Row row_of(const StallView& view, std::size_t rank) {
  const SeenRank& seen = view.ranks[rank];
  Row row{fmt::format("{}", rank), "?", "?", "its status cannot be seen from here", "", "", ""};
  if (!seen.status) return row;
  const RankStatus& s = *seen.status;
  row[1] = text_of(s.host);
  row[2] = fmt::format("{}", s.step);
  row[3] = doing_text(s);
  row[4] = fmt::format("{:.1f} s", seconds_since(seen, s.doing_since_ms));
  row[5] = s.last_collective.group < 0 ? "none" : call_text(s, s.last_collective);
  row[6] = waits_text(view, seen);
  return row;
}

std::string table(const StallView& view) {
  std::vector<Row> rows{{"rank", "host", "step", "action", "for", "last collective", "waits for"}};
  for (std::size_t r = 0; r < view.ranks.size(); ++r)
    rows.push_back(row_of(view, r));
  std::array<std::size_t, std::tuple_size_v<Row>> width{};
  for (const Row& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c)
      width[c] = std::max(width[c], row[c].size());
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c)
      line += fmt::format("{:<{}}  ", row[c], width[c]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::string describe(const Action& action) {
  const auto of = [&](const char* what) {
    return fmt::format("{} of micro-batch {} in stage {}", what, action.micro, action.stage);
  };
  switch (action.act) {
    case Act::kForward: return of("forward");
    case Act::kBackward: return of("backward");
    case Act::kBackwardInput: return of("input gradient");
    case Act::kBackwardWeight: return of("weight gradient");
    case Act::kSendResult: return of("sending the result");
    case Act::kReceiveResult: return of("receiving the result");
    case Act::kSendGradient: return of("sending the gradient");
    case Act::kReceiveGradient: return of("receiving the gradient");
    case Act::kReduce: return fmt::format("reducing stage {}", action.stage);
    case Act::kTie: return fmt::format("tying stage {}", action.stage);
  }
  return "?";
}

std::optional<int> find_culprit(const StallView& view) {
  const SeenRank* longest = nullptr;
  // Its place in the list, and not what its file says that it is.
  const auto index_of = [&](const SeenRank& s) { return static_cast<int>(&s - view.ranks.data()); };
  const auto doing_ms = [](const SeenRank& s) { return ms_since(s, s.status->doing_since_ms); };
  for (const SeenRank& seen : view.ranks) {
    if (!seen.status) continue;
    const RankStatus& s = *seen.status;
    if (!silence(view, seen).empty()) return index_of(seen);
    if (waits(s)) continue;
    if (longest == nullptr || doing_ms(seen) > doing_ms(*longest)) longest = &seen;
  }
  if (longest == nullptr) return std::nullopt;
  return index_of(*longest);
}

std::string stall_report(const StallView& view) {
  std::string text = table(view);
  const std::optional<int> culprit = find_culprit(view);
  if (!culprit) {
    return text +
           "Every rank that can be seen waits for another one: what they wait for was lost, "
           "or a rank that cannot be seen holds them up.";
  }
  const SeenRank& seen = view.ranks[static_cast<std::size_t>(*culprit)];
  const RankStatus& s = *seen.status;
  const std::string why = silence(view, seen);
  return text + fmt::format(
                    "Rank {} on host {} holds up the others: {}, at step {}, {} for {:.1f} "
                    "s.",
                    *culprit, text_of(s.host), why.empty() ? "it waits for nobody" : why, s.step,
                    doing_text(s), seconds_since(seen, s.doing_since_ms));
}

}  // namespace gradwire
