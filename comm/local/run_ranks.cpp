#include <algorithm>
#include <exception>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "comm/local/local_comm.h"
#include "comm/local/local_world.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

struct Failure {
  ErrorKind kind = ErrorKind::kInternal;
  std::string what;
};

std::optional<Failure> run_one(Communicator& comm, const std::function<void(Communicator&)>& fn) {
  Failure failure;
  try {
    fn(comm);
    return std::nullopt;
  } catch (const Error& e) {
    failure = {e.kind(), e.what()};
  } catch (const std::exception& e) {
    failure.what = e.what();
  } catch (...) {
    failure.what = "an exception of unknown type";
  }
  comm.abort(fmt::format("rank {} failed: {}", comm.rank(), failure.what));
  return failure;
}

}  // namespace

void run_ranks(int n, const std::function<void(Communicator&)>& fn, LocalOptions options) {
  auto world = std::make_shared<LocalWorld>(n, options.timeout);
  std::vector<std::unique_ptr<Communicator>> comms = make_local_ranks(world);
  std::vector<std::optional<Failure>> failures(comms.size());
  const int threads_each = std::max(1, thread_count() / n);
  {
    std::vector<std::jthread> threads;
    for (std::size_t r = 0; r < comms.size(); ++r) {
      threads.emplace_back([&, r] {
        set_thread_count(threads_each);
        failures[r] = run_one(*comms[r], fn);
      });
    }
  }
  // The others failed because of the origin; its own error is the one to tell.
  std::optional<std::size_t> blamed;
  for (std::size_t r = 0; r < failures.size(); ++r) {
    const bool is_origin = world->origin() == static_cast<int>(r);
    if (failures[r] && (!blamed || is_origin)) blamed = r;
  }
  if (blamed) {
    throw Error(failures[*blamed]->kind,
                fmt::format("rank {} of {}: {}", *blamed, n, failures[*blamed]->what));
  }
}

}  // namespace gradwire
