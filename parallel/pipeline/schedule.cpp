#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr int kMost = std::numeric_limits<std::int16_t>::max();

// The order in which a rank meets (chunk, micro-batch) pairs: in groups of as many micro-batches as
// there are ranks, each group through all chunks before the next group begins.
std::vector<std::pair<int, int>> interleaved_order(int ranks, int chunks, int groups) {
  std::vector<std::pair<int, int>> order;
  for (int g = 0; g < groups; ++g)
    for (int chunk = 0; chunk < chunks; ++chunk)
      for (int m = g * ranks; m < (g + 1) * ranks; ++m)
        order.emplace_back(chunk, m);
  return order;
}

}  // namespace

Schedule empty_schedule(int ranks, int chunks, int micros) {
  const bool fits = ranks >= 1 && chunks >= 1 && micros >= 1 && micros <= kMost && ranks <= kMost &&
                    chunks <= kMost / ranks;
  if (!fits) {
    throw Error(
        ErrorKind::kConfig,
        fmt::format("schedule: {} ranks of {} stages and {} micro-batches", ranks, chunks, micros));
  }
  Schedule s;
  s.chunks = chunks;
  s.micros = micros;
  s.ranks.resize(static_cast<std::size_t>(ranks));
  return s;
}

Action make_action(Act act, int stage, int micro) {
  return {act, static_cast<std::int16_t>(stage), static_cast<std::int16_t>(micro)};
}

bool is_compute(Act act) {
  return act <= Act::kBackwardWeight;
}

bool is_message(Act act) {
  return act >= Act::kSendResult && act <= Act::kReceiveGradient;
}

bool is_send(Act act) {
  return act == Act::kSendResult || act == Act::kSendGradient;
}

Schedule gpipe(int ranks, int micros) {
  Schedule s = empty_schedule(ranks, 1, micros);
  for (int r = 0; r < ranks; ++r) {
    Program& p = s.program(r);
    for (int m = 0; m < micros; ++m)
      p.push_back(make_action(Act::kForward, r, m));
    for (int m = 0; m < micros; ++m)
      p.push_back(make_action(Act::kBackward, r, m));
  }
  return s;
}

Schedule forward_only(int ranks, int chunks, int micros) {
  Schedule s = interleaved(ranks, chunks, micros);
  for (Program& p : s.ranks)
    std::erase_if(p, [](const Action& a) { return a.act != Act::kForward; });
  return s;
}

Schedule one_f_one_b(int ranks, int micros) {
  return interleaved(ranks, 1, micros);
}

Schedule interleaved(int ranks, int chunks, int micros) {
  Schedule s = empty_schedule(ranks, chunks, micros);
  const auto order = interleaved_order(ranks, chunks, (micros + ranks - 1) / ranks);
  const int total = static_cast<int>(order.size());
  for (int r = 0; r < ranks; ++r) {
    Program& p = s.program(r);
    // Groups are whole, as the order needs; micro-batches past the last one are left out.
    const auto forward = [&](int k) {
      const auto [chunk, m] = order[static_cast<std::size_t>(k)];
      if (m < micros) p.push_back(make_action(Act::kForward, chunk * ranks + r, m));
    };
    const auto backward = [&](int k) {
      const auto [chunk, m] = order[static_cast<std::size_t>(k)];
      if (m < micros) p.push_back(make_action(Act::kBackward, (chunks - 1 - chunk) * ranks + r, m));
    };
    // With chunks, a result comes round again only after all ranks have had it.
    const int away = ranks - r - 1;
    const int ahead = chunks == 1 ? away : 2 * away + (chunks - 1) * ranks;
    const int first = std::min(ahead, total);
    for (int k = 0; k < first; ++k)
      forward(k);
    for (int k = 0; k < total; ++k) {
      if (k + first < total) forward(k + first);
      backward(k);
    }
  }
  return s;
}

}  // namespace gradwire
