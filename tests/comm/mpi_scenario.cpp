// One rank of a job that ends badly on purpose: started under mpirun by mpi_jobs_test, writes what
// it saw to DIR/rank.N, because mpirun tells of one rank's end only. Usage: comm_mpi_scenario
// SCENARIO DIR
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/mpi/mpi_comm.h"
#include "comm/watch/peer_watch.h"
#include "core/error.h"
#include "tests/support/comm_contract.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;

constexpr int kPeerLost = 6;

struct Job {
  Communicator& comm;
  std::string dir;

  // A whole line at once, so that a reader never sees half of one.
  void note(const std::string& file, const std::string& text) const {
    const std::string path = dir + "/" + file + "." + std::to_string(comm.rank());
    std::ofstream(path + ".part") << text << '\n';
    std::rename((path + ".part").c_str(), path.c_str());
  }
  PeerWatch::OnLost note_and_exit() const {
    return [this](int rank, const std::string& why) {
      note("rank", "lost " + std::to_string(rank) + ": " + why);
      _exit(kPeerLost);
    };
  }
  // Trains, so to speak, until the end of the job.
  void reduce_for_ever(Context& cx) const {
    Tensor t = Tensor::zeros(cx, {100'000}, DType::kF32);
    for (;;) {
      comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream);
      std::this_thread::sleep_for(1ms);
    }
  }
};

void train_under_watch(const Job& job) {
  Runtime runtime;
  const PeerWatch watch(runtime.context(), job.comm, job.note_and_exit());
  job.note("pid", std::to_string(getpid()));
  job.reduce_for_ever(runtime.context());
}

void give_up_under_watch(const Job& job) {
  Runtime runtime;
  PeerWatch watch(runtime.context(), job.comm, job.note_and_exit());
  if (job.comm.rank() != 1) std::this_thread::sleep_for(20s);
  watch.abort("disk full\non node7");
  job.note("rank", "gave up");
  _exit(8);
}

void leave_together(const Job& job) {
  Runtime runtime;
  for (int i = 0; i < 3; ++i) {
    const PeerWatch watch(runtime.context(), job.comm, job.note_and_exit());
    job.comm.barrier();
  }
  job.note("rank", "left");
}

// All meet the same error, and not all are equally fast to leave over it.
void fail_together(const Job& job) {
  Runtime runtime;
  try {
    const PeerWatch watch(runtime.context(), job.comm, job.note_and_exit());
    job.comm.barrier();
    std::this_thread::sleep_for(job.comm.rank() * 50ms);
    throw Error(ErrorKind::kConfig, "does not fit");
  } catch (const Error& e) {
    job.note("rank", e.what());
  }
  _exit(2);
}

void one_stays_away(const Job& job) {
  Runtime runtime;
  Context& cx = runtime.context();
  if (job.comm.rank() == 1) {
    // Takes part in the agreement on where to meet, but never connects.
    Tensor host = Tensor::zeros(cx, {16}, DType::kI32);
    Tensor hosts = Tensor::zeros(cx, {16 * job.comm.size()}, DType::kI32);
    job.comm.all_gather(host, hosts, cx.stream)->wait(cx.stream);
    Tensor contact = Tensor::zeros(cx, {256}, DType::kI32);
    job.comm.broadcast(contact, 0, cx.stream)->wait(cx.stream);
    return job.note("rank", "stayed away");
  }
  try {
    const PeerWatch watch(cx, job.comm, job.note_and_exit(), 8s);
    job.note("rank", "connected");
  } catch (const Error& e) {
    job.note("rank", e.what());
  }
}

// The contract's cases that end the world.
std::function<void(const Job&)> contract(void (*check)(Communicator&)) {
  return [check](const Job& job) {
    check(job.comm);
    job.note("rank", testing::Test::HasFailure() ? "failed" : "as expected");
    std::this_thread::sleep_for(500ms);  // mpirun ends the others when one has ended
  };
}

int run(const std::string& scenario, const std::string& dir) {
  const std::map<std::string, std::function<void(const Job&)>> scenarios = {
      {"train_under_watch", train_under_watch},
      {"give_up_under_watch", give_up_under_watch},
      {"leave_together", leave_together},
      {"fail_together", fail_together},
      {"one_stays_away", one_stays_away},
      {"abort", contract(test::contract_abort_reaches_waiting_ranks)},
      {"timeout", contract(test::contract_missing_rank_times_out)},
      {"mismatch", contract(test::contract_mismatch_is_reported)},
      {"drop", contract(test::contract_dropped_handle_fails_the_others)},
  };
  std::signal(SIGTERM, SIG_IGN);  // as in training, where it only asks for a stop
  MpiOptions options;
  options.timeout = scenario == "timeout" ? 300ms : 20s;
  MpiWorld world(options);
  const auto found = scenarios.find(scenario);
  if (found == scenarios.end()) return 2;
  found->second({world.comm(), dir});
  return 0;
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 3) return 2;
  try {
    return gradwire::run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
