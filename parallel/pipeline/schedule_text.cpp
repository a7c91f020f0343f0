#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {
namespace {

constexpr std::string_view kBlank = " \t\r";

char letter_of(Act act) {
  switch (act) {
    case Act::kForward:
    case Act::kSendResult:
    case Act::kReceiveResult: return 'F';
    case Act::kBackward:
    case Act::kSendGradient:
    case Act::kReceiveGradient: return 'B';
    case Act::kBackwardInput: return 'I';
    case Act::kBackwardWeight: return 'W';
    case Act::kReduce: return 'R';
    case Act::kTie: return 'T';
  }
  return '?';
}

bool has_micro(Act act) {
  return is_compute(act) || is_message(act);
}

std::optional<Act> act_of(char letter, bool received, bool sent) {
  if (received && sent) return std::nullopt;
  const bool message = received || sent;
  switch (letter) {
    case 'F': return received ? Act::kReceiveResult : sent ? Act::kSendResult : Act::kForward;
    case 'B': return received ? Act::kReceiveGradient : sent ? Act::kSendGradient : Act::kBackward;
    case 'I': return message ? std::nullopt : std::optional(Act::kBackwardInput);
    case 'W': return message ? std::nullopt : std::optional(Act::kBackwardWeight);
    case 'R': return message ? std::nullopt : std::optional(Act::kReduce);
    case 'T': return message ? std::nullopt : std::optional(Act::kTie);
    default: return std::nullopt;
  }
}

// A number at the front of `text`, which it takes away.
std::optional<std::int16_t> take_number(std::string_view& text) {
  std::uint16_t value = 0;  // unsigned, so that no sign is read
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || value >= std::numeric_limits<std::int16_t>::max())
    return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return static_cast<std::int16_t>(value);
}

std::optional<Action> parse_action(std::string_view word) {
  const bool received = word.starts_with('>'), sent = word.ends_with('>');
  if (received) word.remove_prefix(1);
  if (sent && !word.empty()) word.remove_suffix(1);
  const auto stage = take_number(word);
  if (!stage || word.empty()) return std::nullopt;
  const auto act = act_of(word.front(), received, sent);
  word.remove_prefix(1);
  if (!act) return std::nullopt;
  const auto micro = has_micro(*act) ? take_number(word) : std::optional<std::int16_t>(0);
  if (!micro || !word.empty()) return std::nullopt;
  return Action{*act, *stage, *micro};
}

Program parse_line(std::string_view line, int number) {
  Program program;
  while (true) {
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    if (line.empty()) return program;
    const std::string_view word = line.substr(0, line.find_first_of(kBlank));
    line.remove_prefix(word.size());
    const auto action = parse_action(word);
    if (!action) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("schedule: line {}: '{}' is no action (0F0, 0B0, 0I0, 0W0, 0F0>, "
                              ">0F0, 1B0>, >1B0, 0R, 0T)",
                              number, word));
    }
    program.push_back(*action);
  }
}

// Micro-batches and chunks are what the actions name.
void count(Schedule& s) {
  int stages = 0;
  for (const Program& p : s.ranks) {
    for (const Action& a : p) {
      s.micros = std::max(s.micros, a.micro + 1);
      stages = std::max(stages, a.stage + 1);
    }
  }
  const int ranks = static_cast<int>(s.ranks.size());
  if (ranks == 0) throw Error(ErrorKind::kConfig, "schedule: no line has an action");
  if (stages % ranks != 0) {
    throw Error(ErrorKind::kConfig,
                fmt::format("schedule: {} lines make {} ranks, which is no divisor of {} stages",
                            ranks, ranks, stages));
  }
  s.chunks = stages / ranks;
}

// Ranks hold the stages r, r + ranks, ...: no other mapping can be written.
void check_mapping(const Schedule& s, std::span<const int> lines) {
  for (std::size_t r = 0; r < s.ranks.size(); ++r) {
    for (const Action& a : s.ranks[r]) {
      const bool received = a.act == Act::kReceiveResult || a.act == Act::kReceiveGradient;
      if (received || s.rank_of(a.stage) == static_cast<int>(r)) continue;
      throw Error(ErrorKind::kConfig,
                  fmt::format("schedule: line {}: {} on rank {}, but stage {} is rank {}'s: of {} "
                              "ranks, rank r holds the stages r, r + {}, ...",
                              lines[r], to_text(a), r, a.stage, s.rank_of(a.stage), s.ranks.size(),
                              s.ranks.size()));
    }
  }
}

}  // namespace

std::string to_text(const Action& a) {
  const bool received = a.act == Act::kReceiveResult || a.act == Act::kReceiveGradient;
  return fmt::format("{}{}{}{}{}", received ? ">" : "", a.stage, letter_of(a.act),
                     has_micro(a.act) ? fmt::format("{}", a.micro) : "", is_send(a.act) ? ">" : "");
}

std::string to_text(const Schedule& s) {
  std::string text;
  for (const Program& p : s.ranks) {
    std::string line;
    for (const Action& a : p)
      line += (line.empty() ? "" : " ") + to_text(a);
    text += line + "\n";
  }
  return text;
}

Schedule parse_schedule(std::string_view text) {
  Schedule s;
  std::vector<int> lines;  // of each rank
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t begin = line.find_first_not_of(kBlank);
    if (begin == std::string_view::npos || line[begin] == '#') continue;
    s.ranks.push_back(parse_line(line, number));
    lines.push_back(number);
  }
  count(s);
  check_mapping(s, lines);
  return s;
}

}  // namespace gradwire
