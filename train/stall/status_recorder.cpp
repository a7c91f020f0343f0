#include "train/stall/status_recorder.h"

#include <utility>

#include "core/error.h"

namespace gradwire {
namespace {

void enter(RankStatus& s, Doing doing, std::int64_t now_ms) {
  s.doing = doing;
  s.doing_since_ms = now_ms;
  ++s.progress;
}

Doing doing_of(StepPart part) {
  switch (part) {
    case StepPart::kGradients: return Doing::kGradients;
    case StepPart::kAgreement: return Doing::kAgreement;
    case StepPart::kUpdate: return Doing::kUpdate;
  }
  return Doing::kUpdate;
}

}  // namespace

void StepRecorder::step_begins(std::int64_t step) {
  board_.change([&](RankStatus& s, std::int64_t now_ms) {
    s.step = step;
    enter(s, Doing::kBegin, now_ms);
  });
}

void StepRecorder::action_begins(const Action& action) {
  board_.change([&](RankStatus& s, std::int64_t now_ms) {
    s.action = action;
    enter(s, Doing::kAction, now_ms);
  });
}

void StepRecorder::part_begins(StepPart part) {
  board_.change([&](RankStatus& s, std::int64_t now_ms) { enter(s, doing_of(part), now_ms); });
}

void StepRecorder::step_ends(std::span<const TimelineEvent>) {
  board_.change(
      [&](RankStatus& s, std::int64_t now_ms) { enter(s, Doing::kBetweenSteps, now_ms); });
}

CallRecorder::CallRecorder(StatusBoard& board, Communicator& comm, std::string_view name,
                           std::vector<int> world_ranks)
    : board_(board), comm_(comm), world_ranks_(std::move(world_ranks)) {
  board_.change([&](RankStatus& s, std::int64_t) {
    group_ = s.group_count;
    check(group_ < static_cast<int>(s.groups.size()), ErrorKind::kUsage,
          "status board: no room for another communicator");
    GroupStatus& group = s.groups[static_cast<std::size_t>(s.group_count++)];
    name.copy(group.name.data(), group.name.size() - 1);
    group.first = world_ranks_.front();
  });
  comm_.observe(this);
}

CallRecorder::~CallRecorder() {
  comm_.observe(nullptr);
}

CallStatus CallRecorder::status_of(const CallNote& call) const {
  const int peer = call.peer == CallNote::kAll ? CallNote::kAll
                                               : world_ranks_[static_cast<std::size_t>(call.peer)];
  return {group_, call.kind, call.sequence, peer};
}

void CallRecorder::begins(const CallNote& call) noexcept {
  board_.change([&](RankStatus& s, std::int64_t) {
    ++s.progress;
    if (call.kind == CallKind::kExchange) return;
    s.last_collective = status_of(call);
    s.groups[static_cast<std::size_t>(group_)].collectives = call.sequence + 1;
  });
}

void CallRecorder::waits(const CallNote& call) noexcept {
  board_.change([&](RankStatus& s, std::int64_t now_ms) {
    ++s.progress;
    s.waits_for = status_of(call);
    s.waits_since_ms = now_ms;
  });
}

void CallRecorder::goes_on() noexcept {
  board_.change([&](RankStatus& s, std::int64_t) {
    ++s.progress;
    s.waits_for = {};
  });
}

}  // namespace gradwire
