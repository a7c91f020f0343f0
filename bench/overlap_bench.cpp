// All-reduce beside computation, under mpirun: the time of a 64 MiB all-reduce alone, of a batch of
// matrix products alone, and of both at once. `hidden` is the share of the exchange that costs
// nothing: 1 if both together take as long as the longer of the two, 0 if they add up.
// Usage: mpirun -n 2 overlap_bench
#include <algorithm>
#include <array>
#include <chrono>
#include <functional>

#include <fmt/format.h>

#include "comm/mpi/mpi_comm.h"
#include "core/ops/linear/linear.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kElements = std::int64_t{16} << 20;
constexpr int kProducts = 24;
constexpr int kRepeats = 7;

double seconds_of(Communicator& comm, const std::function<void()>& work) {
  comm.barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void bench() {
  set_thread_count(1);
  MpiWorld world;
  Communicator& comm = world.comm();
  Runtime runtime;
  Context& cx = runtime.context();
  const Tensor gradients = Tensor::zeros(cx, {kElements}, DType::kF32);
  const Tensor x = Tensor::zeros(cx, {1024, 1024}, DType::kF32);
  const Tensor w = Tensor::zeros(cx, {1024, 1024}, DType::kF32);
  const auto compute = [&] {
    Tape tape(/*recording=*/false);
    for (int i = 0; i < kProducts; ++i)
      linear(cx, tape, tape.constant(x), tape.constant(w));
  };
  const auto start_exchange = [&] {
    return comm.all_reduce(gradients, ReduceOp::kMean, {cx.stream, Traffic::kGradient});
  };

  if (comm.rank() == 0) {
    fmt::print("{}, {} MiB\n", comm.describe(), kElements * 4 >> 20);
    fmt::print("exchange_s compute_s together_s hidden\n");
  }
  for (int i = 0; i <= kRepeats; ++i) {
    const double exchange = seconds_of(comm, [&] { start_exchange()->wait(cx.stream); });
    const double alone = seconds_of(comm, compute);
    const double together = seconds_of(comm, [&] {
      const WorkPtr work = start_exchange();
      compute();
      work->wait(cx.stream);
    });
    const double hidden = (exchange + alone - together) / std::min(exchange, alone);
    if (i > 0 && comm.rank() == 0) {  // the first round warms memory and plans
      fmt::print("{:.4f} {:.4f} {:.4f} {:.2f}\n", exchange, alone, together, hidden);
    }
  }
}

}  // namespace
}  // namespace gradwire

int main() {
  gradwire::bench();
}
