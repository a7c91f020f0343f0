// How many messages a step takes among many ranks, of which each costs its thread some time however
// short it is.
#include <cmath>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "optim/onebit_adam.h"
#include "parallel/agreement.h"
#include "train/update.h"

namespace gradwire {
namespace {

// Payloads between two ranks are longer than what is passed on in stages.
constexpr std::int64_t kElements = 150'000;

WireCount sent_in_compressed_step(Communicator& comm) {
  Runtime runtime;
  Context& cx = runtime.context();
  Parameter p;
  p.name = "p";
  p.value = Tensor::zeros(cx, {kElements}, DType::kF32);
  std::vector<Parameter*> params{&p};
  DataParallel ranks(cx, comm, make_dense_reducer(comm), params);
  ranks.compress_with(make_compressed_reducer(cx, comm, ranks.layout(0), {}));
  const auto optimizer = make_onebit_adam(cx, ranks.buckets().all(), {{}, {.freeze_step = 1}});
  Update update({1.0, -1}, *optimizer, ranks);
  WireCount before;
  for (int step = 1; step <= 3; ++step) {
    before = comm.ledger().total();
    update.begin(step, false);
    fill_normal(cx, p.grad, Rng{7, static_cast<std::uint64_t>(64 * step + comm.rank()) << 32}, 1.0);
    p.grad_empty = false;
    update.finish_gradients(cx);
    StepAgreement agreement(cx, comm, {.loss_count = 1.0, .counts = {1.0}});
    EXPECT_TRUE(std::isfinite(update.norm(cx)));
    agreement.wait(cx);
    update.apply(cx, 1e-3);
  }
  EXPECT_TRUE(optimizer->needs(false).exchange);
  return comm.ledger().total() - before;
}

TEST(StepMessages, OfOneBitAdamAreFewAmongManyRanks) {
  for (const int n : {48, 64}) {
    run_ranks(n, [n](Communicator& comm) {
      const WireCount sent = sent_in_compressed_step(comm);
      EXPECT_LE(sent.messages, 4 * (n - 1)) << n << " ranks";
      EXPECT_GE(sent.messages, 2 * (n - 1));
    });
  }
}

}  // namespace
}  // namespace gradwire
