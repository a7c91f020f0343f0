// The main of every test binary that runs under mpiexec. It fails when the world is not of the size
// GRADWIRE_EXPECT_RANKS or when no test ran; a failure on any rank is a failure of all. Ranks above
// 0 print nothing but their failures.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/mpi_world.h"

namespace gradwire::test {
namespace {

class FailuresOnly final : public testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& r) override {
    if (!r.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", rank_, r.file_name() ? r.file_name() : "?",
                 r.line_number(), r.message());
  }

 private:
  int rank_;
};

MpiOptions options_from_environment() {
  MpiOptions options;
  options.timeout = std::chrono::seconds(30);
  if (const char* ms = std::getenv("GRADWIRE_TEST_TIMEOUT_MS")) {
    options.timeout = std::chrono::milliseconds(std::stol(ms));
  }
  if (const char* bytes = std::getenv("GRADWIRE_TEST_PIECE_BYTES")) {
    options.piece_bytes = std::stol(bytes);
  }
  return options;
}

int run_tests(Communicator& comm) {
  const char* expected = std::getenv("GRADWIRE_EXPECT_RANKS");
  if (expected == nullptr || std::stoi(expected) != comm.size()) {
    std::fprintf(stderr, "expected %s ranks, there are %d\n", expected ? expected : "(unset)",
                 comm.size());
    return 1;
  }
  if (comm.rank() != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly(comm.rank()));
  }
  const int failed = RUN_ALL_TESTS();
  if (testing::UnitTest::GetInstance()->test_to_run_count() > 0) return failed;
  std::fprintf(stderr, "no test ran\n");
  return 1;
}

// The largest over the ranks, if they can still talk.
int worst_of(Communicator& comm, int result) {
  try {
    Runtime runtime;
    Context& cx = runtime.context();
    Tensor t = Tensor::from(cx, {1}, std::vector<std::int32_t>{result});
    comm.all_reduce(t, ReduceOp::kMax, cx.stream)->wait(cx.stream);
    return t.host<std::int32_t>()[0];
  } catch (const std::exception&) {
    return result;
  }
}

}  // namespace

MpiWorld*& mpi_world() {
  static MpiWorld* world = nullptr;
  return world;
}

}  // namespace gradwire::test

int main(int argc, char** argv) {
  using namespace gradwire::test;
  testing::InitGoogleTest(&argc, argv);
  int result = 1;
  try {
    gradwire::MpiWorld world(options_from_environment());
    mpi_world() = &world;
    result = worst_of(world.comm(), run_tests(world.comm()));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return result;
}
