// Ranks of one job as child processes of this one, without MPI: what `gradwire launch` does.
// Signals are passed on, a rank that fails takes the others along within a bounded time, and none
// outlives this process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "launch/start/exit_code.h"

namespace gradwire {

// How a rank ended, as waitpid() has it.
struct RankEnd {
  int rank = 0;
  int status = 0;
  bool by_us = false;  // was asked to end because another one had failed
};

// What the job's exit code is, from the ranks' ends in the order in which they came: 0 if all
// are 0; 75 if all are 0 or 75; else the first failure that is not another one's consequence. A
// rank that a signal killed is a lost peer.
int job_exit_code(const std::vector<RankEnd>& ends);
// "rank 1 was killed by signal 9 (Killed)"; empty if it exited by itself, since it has then
// said why.
std::string describe(const RankEnd& end);

class LocalJob {
 public:
  // From now on the signals of StopSignal mean the ranks. One per process.
  LocalJob();
  ~LocalJob();  // kills what still runs
  LocalJob(const LocalJob&) = delete;
  LocalJob& operator=(const LocalJob&) = delete;

  // Starts this program `ranks` times with the arguments `args`, where they meet on loopback in the
  // environment. Errors: kIo.
  void start(int ranks, const std::vector<std::string>& args);
  // Waits for all of them, and passes signals on meanwhile.
  std::vector<RankEnd> wait();

 private:
  struct Child {
    pid_t pid = -1;
    bool runs = false;
    bool told_to_end = false;
    bool not_needed = false;  // told to end, because another has refused what all were given
  };
  void spawn(int rank, const std::vector<std::string>& args,
             const std::vector<std::string>& environment, int listener);
  void reap(std::vector<RankEnd>& ends);
  void signal_all(int number);
  void pass_signals_on();
  bool runs() const;

  std::vector<Child> children_;
};

}  // namespace gradwire
