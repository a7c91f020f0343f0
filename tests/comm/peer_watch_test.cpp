#include "comm/watch/peer_watch.h"

#include <filesystem>
#include <future>
#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "comm/local/local_comm.h"
#include "core/context.h"

namespace gradwire {
namespace {

// Sockets of this process that listen.
int listeners() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    int listens = 0;
    socklen_t size = sizeof listens;
    const int fd = std::stoi(entry.path().filename().string());
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0) count += listens;
  }
  return count;
}

TEST(PeerWatch, NobodyListensOnceRanksHaveMet) {
  const int before = listeners();
  run_ranks(3, [&](Communicator& comm) {
    Runtime runtime;
    PeerWatch watch(runtime.context(), comm, [](int, const std::string&) { ADD_FAILURE(); });
    EXPECT_EQ(listeners(), before);
    comm.barrier();
  });
}

TEST(PeerWatch, TellsWhoGaveUp) {
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    std::promise<std::string> heard;
    PeerWatch watch(runtime.context(), comm, [&](int rank, const std::string& why) {
      heard.set_value(std::to_string(rank) + " " + why);
    });
    comm.barrier();
    if (comm.rank() == 1) {
      watch.abort("no more");
    } else {
      EXPECT_EQ(heard.get_future().get(), "1 no more");
    }
    comm.barrier();
  });
}

}  // namespace
}  // namespace gradwire
