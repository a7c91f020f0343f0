#include "comm/mpi/mpi_engine.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>

#include "comm/watch/own_sleep.h"
#include "core/error.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;
using Clock = MpiChannel::Clock;

constexpr std::size_t kNoteBytes = 4096;
constexpr int kNoteTag = 1;
constexpr auto kNoteTime = 1s;  // to get the reason of a failure out to the others
constexpr auto kCheckEvery = 20ms;

// Turns without movement before the thread naps, and naps that grow from 50 us to half a
// millisecond the longer nothing moves; docs/communication.md has what spinning instead costs.
constexpr int kTurnsBeforeNap = 200;
constexpr auto kNap = 50us;
constexpr int kNapsPerStep = 16;
constexpr int kLongestNap = 10;  // times kNap
// With nothing to do MPI still gets a turn now and then, for what it has buffered.
constexpr auto kIdleNap = 2000us;

std::string library_name() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  check_mpi(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  const std::string all(text, static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

}  // namespace

MpiEngine::MpiEngine(MpiOptions options) : options_(options), note_(kNoteBytes) {
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;  // MPI counts are ints
  if (options.piece_bytes < 1 || options.piece_bytes > kMostBytes) {
    throw Error(ErrorKind::kUsage, fmt::format("mpi: pieces of {} bytes", options.piece_bytes));
  }
  thread_ = std::thread([this] { thread_main(); });
  std::unique_lock lock(mutex_);
  to_callers_.wait(lock, [this] { return started_ || failed_; });
  if (started_) return;  // a failure after that is for the calls to tell
  lock.unlock();
  thread_.join();
  throw Error(ErrorKind::kComm, why_);
}

MpiEngine::~MpiEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  to_thread_.notify_all();
  thread_.join();
}

void MpiEngine::thread_main() {
  prctl(PR_SET_TIMERSLACK, 1000UL);  // naps of 50 us would last twice as long otherwise
  try {
    start_mpi();
  } catch (const std::exception& e) {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    why_ = e.what();
    to_callers_.notify_all();
    return;
  }
  try {
    loop();
    if (!failed_) finish_mpi();
  } catch (const std::exception& e) {
    fail(e.what(), false);
  }
}

void MpiEngine::start_mpi() {
  int running = 0, over = 0;
  check_mpi(MPI_Initialized(&running), "MPI_Initialized");
  check_mpi(MPI_Finalized(&over), "MPI_Finalized");
  if (running != 0 || over != 0) {
    throw Error(ErrorKind::kUsage, "mpi: MPI can be started once in a process");
  }
  int level = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  library_ = library_name();
  world_ = std::make_shared<MpiChannel>(MPI_COMM_WORLD, options_);
  channels_.push_back(world_);
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &notes_), "MPI_Comm_dup");
  check_mpi(MPI_Irecv(note_.data(), static_cast<int>(note_.size()), MPI_CHAR, MPI_ANY_SOURCE,
                      kNoteTag, notes_, &note_request_),
            "MPI_Irecv");
  const std::lock_guard lock(mutex_);
  started_ = true;
  to_callers_.notify_all();
}

void MpiEngine::loop() {
  int idle_turns = 0;
  Clock::time_point checked = Clock::now();
  OwnSleep own_sleep;
  while (take_work()) {
    ++turns_;
    try {
      const bool moved = progress();
      idle_turns = moved ? 0 : idle_turns + 1;
      hear_notes();
      const Clock::time_point now = Clock::now();
      if (now - checked > kCheckEvery) {
        checked = now;
        const auto slept = own_sleep.look(now);
        for (const auto& channel : channels_) {
          channel->forgive(slept);
          channel->check_stalled(now);
        }
      }
    } catch (const Error& e) {
      fail(fmt::format("rank {}: {}", world_->rank(), e.what()), true);
    }
    if (failed_) return;
    nap(idle_turns);
  }
}

// Takes over what callers have handed in. False: it is time to stop.
bool MpiEngine::take_work() {
  std::vector<Submission> submissions;
  std::vector<std::function<void()>> tasks;
  bool stopping = false;
  {
    const std::lock_guard lock(mutex_);
    submissions.swap(submissions_);
    tasks.swap(tasks_);
    stopping = stopping_;
  }
  for (const Submission& s : submissions)
    s.channel->submit(s.op);
  for (const auto& task : tasks) {
    if (!failed_) task();
  }
  return !stopping && !failed_;
}

bool MpiEngine::progress() {
  bool moved = false;
  for (const auto& channel : channels_)
    moved |= channel->progress(finished_);
  if (finished_.empty()) return moved;
  for (const OperationPtr& op : finished_)
    op->count(ledger_);
  {
    const std::lock_guard lock(mutex_);
    for (const OperationPtr& op : finished_)
      op->end();
  }
  to_callers_.notify_all();
  finished_.clear();
  return true;
}

void MpiEngine::nap(int idle_turns) {
  if (idle_turns == 0) return;
  if (idle_turns < kTurnsBeforeNap) {
    sched_yield();
    return;
  }
  const bool idle = std::all_of(channels_.begin(), channels_.end(),
                                [](const auto& channel) { return channel->idle(); });
  const int naps = idle_turns - kTurnsBeforeNap;
  const auto busy_nap = kNap * std::min(kLongestNap, 1 + naps / kNapsPerStep);
  std::unique_lock lock(mutex_);
  to_thread_.wait_for(lock, idle ? kIdleNap : busy_nap,
                      [this] { return stopping_ || !submissions_.empty() || !tasks_.empty(); });
}

void MpiEngine::hear_notes() {
  int arrived = 0;
  MPI_Status status;
  check_mpi(MPI_Test(&note_request_, &arrived, &status), "MPI_Test");
  if (arrived == 0) return;
  int length = 0;
  check_mpi(MPI_Get_count(&status, MPI_CHAR, &length), "MPI_Get_count");
  fail(std::string(note_.data(), static_cast<std::size_t>(length)), false);
}

// No MPI call follows this one. Operations end only when nothing can write into their memory any
// more.
void MpiEngine::fail(const std::string& why, bool tell) {
  for (const auto& channel : channels_)
    channel->cancel();
  if (tell) tell_others(why);
  std::vector<OperationPtr> unfinished;
  for (const auto& channel : channels_)
    channel->abandon(unfinished);
  const std::lock_guard lock(mutex_);
  failed_ = true;
  why_ = why;
  for (const Submission& s : submissions_)
    unfinished.push_back(s.op);
  submissions_.clear();
  for (const OperationPtr& op : unfinished) {
    op->error = why;
    op->end();
  }
  to_callers_.notify_all();
}

void MpiEngine::tell_others(const std::string& why) {
  const int length = static_cast<int>(std::min(why.size(), kNoteBytes));
  std::vector<MPI_Request> sends;
  for (int peer = 0; peer < world_->size(); ++peer) {
    if (peer == world_->rank()) continue;
    sends.push_back(MPI_REQUEST_NULL);
    MPI_Isend(why.data(), length, MPI_CHAR, peer, kNoteTag, notes_, &sends.back());
  }
  const Clock::time_point give_up = Clock::now() + kNoteTime;
  int all_sent = 0;
  while (all_sent == 0 && Clock::now() < give_up) {
    if (MPI_Testall(static_cast<int>(sends.size()), sends.data(), &all_sent, MPI_STATUSES_IGNORE) !=
        MPI_SUCCESS) {
      return;
    }
    sched_yield();
  }
}

void MpiEngine::finish_mpi() {
  check_mpi(MPI_Cancel(&note_request_), "MPI_Cancel");
  check_mpi(MPI_Wait(&note_request_, MPI_STATUS_IGNORE), "MPI_Wait");
  check_mpi(MPI_Comm_free(&notes_), "MPI_Comm_free");
  for (const auto& channel : channels_)
    channel->free();
  check_mpi(MPI_Finalize(), "MPI_Finalize");
}

// In slices, so that a process that was stopped has waited for one of them at most.
void MpiEngine::wait_for_thread(std::unique_lock<std::mutex>& lock,
                                const std::function<bool()>& done) {
  constexpr auto kSlice = 1s;
  std::uint64_t turns = turns_;
  for (Clock::duration still{}; still < options_.timeout + 10s; still += kSlice) {
    if (to_callers_.wait_for(lock, kSlice, done)) return;
    if (const std::uint64_t now = turns_; now != turns) {
      turns = now;
      still = {};
    }
  }
  throw Error(ErrorKind::kComm, "mpi: a call into MPI does not return");
}

void MpiEngine::run(std::function<void()> task) {
  struct State {
    bool done = false;
    std::exception_ptr error;
  };
  auto state = std::make_shared<State>();
  std::unique_lock lock(mutex_);
  if (failed_) throw Error(ErrorKind::kComm, why_);
  tasks_.push_back([this, state, task = std::move(task)] {
    std::exception_ptr error;
    try {
      task();
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard inner(mutex_);
    state->error = error;
    state->done = true;
    to_callers_.notify_all();
  });
  to_thread_.notify_all();
  wait_for_thread(lock, [&] { return state->done || failed_; });
  if (state->error) std::rethrow_exception(state->error);
  if (!state->done) throw Error(ErrorKind::kComm, why_);
}

OperationPtr MpiEngine::submit(MpiChannel& channel, Call call, const CallOptions& options) {
  OperationPtr op = make_operation(std::move(call), options);
  {
    const std::lock_guard lock(mutex_);
    if (failed_) throw Error(ErrorKind::kComm, why_);
    submissions_.push_back({&channel, op});
  }
  to_thread_.notify_all();
  return op;
}

void MpiEngine::wait(Operation& op) {
  std::unique_lock lock(mutex_);
  wait_for_thread(lock, [&] { return op.done; });
  if (!op.error.empty()) throw Error(ErrorKind::kComm, op.error);
}

void MpiEngine::drop(Operation& op) {
  std::string what;
  {
    const std::lock_guard lock(mutex_);
    if (op.done) return;
    what = describe(op.call);  // under the lock: the thread clears it when it is done
  }
  abort(fmt::format("rank {} dropped {} before it was done", world_->rank(), what));
}

void MpiEngine::check_alive() {
  const std::lock_guard lock(mutex_);
  if (failed_) throw Error(ErrorKind::kComm, why_);
}

void MpiEngine::abort(const std::string& why) {
  run([this, why] { fail(why, true); });
}

std::shared_ptr<MpiChannel> MpiEngine::split(const MpiChannel& parent,
                                             const std::vector<int>& members) {
  std::shared_ptr<MpiChannel> channel;
  run([&] {
    const auto here = std::find(members.begin(), members.end(), parent.rank());
    const int color = members.empty() ? MPI_UNDEFINED : members.front();
    const int key = static_cast<int>(here - members.begin());
    MPI_Comm part = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split(parent.comm(), color, key, &part), "MPI_Comm_split");
    if (part == MPI_COMM_NULL) return;
    channel = std::make_shared<MpiChannel>(part, options_);
    check_mpi(MPI_Comm_free(&part), "MPI_Comm_free");
    channels_.push_back(channel);
  });
  return channel;
}

void MpiEngine::release(const std::shared_ptr<MpiChannel>& channel) {
  run([this, channel] {
    std::erase(channels_, channel);
    channel->free();
  });
}

}  // namespace gradwire
