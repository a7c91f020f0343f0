#include "parallel/replica_check.h"

#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

using testing::HasSubstr;

class Replica {
 public:
  explicit Replica(Context& cx) {
    for (const char* name : {"embed.weight", "blocks.0.q", "blocks.1.q"}) {
      Parameter& p = owned_.emplace_back();
      p.name = name;
      p.value = Tensor::zeros(cx, {40, 3}, DType::kF32);
      fill_uniform(cx, p.value, Rng{7, 0}, -1.0, 1.0);
      params.push_back(&p);
    }
  }
  std::vector<Parameter*> params;

 private:
  std::deque<Parameter> owned_;
};

// What every rank is told.
std::vector<std::string> check(int ranks, std::vector<int> odd) {
  std::vector<std::string> told(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime runtime;
    Replica replica(runtime.context());
    // One bit, and not the sign of zero.
    if (testing::Value(odd, testing::Contains(comm.rank())))
      replica.params[1]->value.host<float>()[119] *= 1.0000001F;
    try {
      check_replicas(runtime.context(), comm, 40, replica.params);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kNumeric);
      told[static_cast<std::size_t>(comm.rank())] = e.what();
    }
  });
  for (const std::string& text : told)
    EXPECT_EQ(text, told[0]);
  return told;
}

TEST(ReplicaCheck, EqualReplicasPass) {
  for (const int ranks : {1, 2, 3, 7})
    EXPECT_EQ(check(ranks, {})[0], "");
}

TEST(ReplicaCheck, TheOddRankIsNamedWithTheParameter) {
  EXPECT_EQ(check(4, {2})[0],
            "replicas differ after step 40: rank 2 holds other parameters than rank 0 and most "
            "others, 'blocks.0.q' first of all");
  EXPECT_THAT(check(7, {0, 3})[0], HasSubstr("ranks 0, 3 hold other parameters than rank 1"));
  EXPECT_THAT(check(2, {1})[0], HasSubstr("cannot be told"));
}

TEST(ReplicaCheck, HashSeesNamesOrderAndBytesButNoThreads) {
  Runtime runtime;
  Context& cx = runtime.context();
  Replica a(cx), b(cx);
  const std::uint64_t hash = hash_of(cx, a.params);
  EXPECT_EQ(hash_of(cx, b.params), hash);
  set_thread_count(1);
  EXPECT_EQ(hash_of(cx, b.params), hash);
  set_thread_count(2);
  b.params[0]->name = "embed.weights";
  EXPECT_NE(hash_of(cx, b.params), hash);
  b.params[0]->name = "embed.weight";
  std::swap(b.params[0], b.params[1]);
  EXPECT_NE(hash_of(cx, b.params), hash);
}

}  // namespace
}  // namespace gradwire
