#include "launch/start/exit_code.h"

#include <new>
#include <system_error>

#include <fmt/format.h>

#include "core/io_error.h"
#include "train/same_run.h"

#include "recipe/problems.h"

namespace gradwire {
namespace {

ErrorKind kind_of(const std::exception& e) {
  if (const auto* own = dynamic_cast<const Error*>(&e)) return own->kind();
  if (dynamic_cast<const std::bad_alloc*>(&e) != nullptr) return ErrorKind::kMemory;
  if (const auto* io = dynamic_cast<const std::system_error*>(&e)) {
    return kind_of_io_error(io->code().value());
  }
  return ErrorKind::kInternal;
}

bool said_elsewhere(const std::exception& e) {
  const auto* different = dynamic_cast<const DifferentRuns*>(&e);
  return different != nullptr && !different->said_here();
}

bool said_by_rank_0(const std::exception& e) {
  if (const auto* recipe = dynamic_cast<const RecipeError*>(&e)) return recipe->same_everywhere();
  const auto* own = dynamic_cast<const Error*>(&e);
  return own != nullptr && own->kind() == ErrorKind::kUsage;
}

}  // namespace

ExitCode exit_code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
    case ErrorKind::kConfig: return ExitCode::kUsage;
    case ErrorKind::kData: return ExitCode::kData;
    case ErrorKind::kCheckpoint: return ExitCode::kCheckpoint;
    case ErrorKind::kNumeric: return ExitCode::kNumeric;
    case ErrorKind::kComm: return ExitCode::kPeerLost;
    case ErrorKind::kIo:
    case ErrorKind::kMemory: return ExitCode::kResources;
    case ErrorKind::kShape:
    case ErrorKind::kDevice:
    case ErrorKind::kInternal: return ExitCode::kBug;
  }
  return ExitCode::kBug;
}

ExitCode exit_code_of(const std::exception& e) {
  return exit_code_of(kind_of(e));
}

std::string failure_text(const std::exception& e, const RankEnvironment& env) {
  if (said_elsewhere(e)) return "";
  const std::string rank = env.launched() ? fmt::format("[rank {}] ", env.rank) : "";
  return fmt::format("{}gradwire: {}: {}", rank, name_of(kind_of(e)), e.what());
}

bool is_likely_said_by_rank_0(const std::exception& e, const RankEnvironment& env) {
  return env.rank > 0 && said_by_rank_0(e);
}

}  // namespace gradwire
