// Keep a rank's status board up to date: one follows the training loop, one each the communicators.
// They own nothing; the board and the communicators must outlive them.
#pragma once

#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "train/stall/status_board.h"
#include "train/step_observer.h"

namespace gradwire {

class StepRecorder final : public StepObserver {
 public:
  explicit StepRecorder(StatusBoard& board) : board_(board) {}
  void step_begins(std::int64_t step) override;
  void action_begins(const Action& action) override;
  void part_begins(StepPart part) override;
  void step_ends(std::span<const TimelineEvent> actions) override;

 private:
  StatusBoard& board_;
};

class CallRecorder final : public CallObserver {
 public:
  // Observes `comm`, whose ranks have the numbers `world_ranks` in the world, under a short name.
  // A board has room for four. Errors: kUsage.
  CallRecorder(StatusBoard& board, Communicator& comm, std::string_view name,
               std::vector<int> world_ranks);
  ~CallRecorder() override;
  CallRecorder(const CallRecorder&) = delete;
  CallRecorder& operator=(const CallRecorder&) = delete;
  void begins(const CallNote& call) noexcept override;
  void waits(const CallNote& call) noexcept override;
  void goes_on() noexcept override;

 private:
  CallStatus status_of(const CallNote& call) const;

  StatusBoard& board_;
  Communicator& comm_;
  std::vector<int> world_ranks_;
  int group_ = 0;
};

}  // namespace gradwire
