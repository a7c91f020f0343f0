// A run's progress for people: on a terminal one line that is redrawn, with events above it;
// anywhere else plain lines of key=value pairs in a fixed order, which tools can cut. Rank 0 only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "train/metrics/metrics.h"

namespace gradwire {

enum class ProgressStyle : std::uint8_t { kTerminal, kLines };
// The terminal style needs a terminal, no NO_COLOR and a TERM other than "dumb" (null: not set).
ProgressStyle progress_style(bool is_terminal, const char* no_color, const char* term);
// For a descriptor of this process and its environment.
ProgressStyle progress_style(int fd);

struct ProgressOptions {
  int fd = 2;
  std::string path{};  // of a file that is appended to instead; only kLines
  ProgressStyle style = ProgressStyle::kLines;
  int columns = 0;             // of the terminal; 0: asked of it at every draw
  std::int64_t log_every = 1;  // steps between lines; the first and the last are always shown
};

// Remaining time comes from an exponentially weighted step time, the averaged loss likewise.
std::unique_ptr<MetricsSink> make_progress_sink(const ProgressOptions& options,
                                                WallClock clock = system_wall_clock());

// 950, 41.2k, 3.1M.
std::string short_count(double x);
// 512 B, 18.3 MB: powers of a thousand.
std::string short_bytes(double bytes);
// 45s, 12m03, 1h47, 2d04h; "?" if it is not known.
std::string short_duration(double seconds);

}  // namespace gradwire
