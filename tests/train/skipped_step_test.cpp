// A step that is skipped leaves no trace, with every rule and reducer: no residual, momentum, mask,
// count or parameter is another one after it.
#include <cstring>

#include <gtest/gtest.h>

#include "tests/train/small_run.h"

namespace gradwire {
namespace {

using test::SmallConfig;
using test::SmallRun;

// Every piece of state by name, as its bytes.
class Bytes final : public StateVisitor {
 public:
  void tensor(std::string_view name, Tensor& t, Share) override { keep(name, t.raw(), t.bytes()); }
  void slice(std::string_view name, Tensor& t, std::int64_t, std::int64_t) override {
    keep(name, t.raw(), t.bytes());
  }
  void number(std::string_view name, std::int64_t& v, Share) override { keep(name, &v, sizeof v); }
  void number(std::string_view name, double& v, Share) override { keep(name, &v, sizeof v); }
  void text(std::string_view name, std::string& v, Share) override {
    keep(name, v.data(), v.size());
  }
  std::map<std::string, std::string> all;

 private:
  void keep(std::string_view name, const void* at, std::size_t size) {
    std::string& bytes = all[std::string(name)];
    bytes.resize(size);
    if (size > 0) std::memcpy(bytes.data(), at, size);
  }
};

std::map<std::string, std::string> bytes_of(SmallRun& run) {
  Bytes bytes;
  for (Parameter* p : run.params())
    bytes.tensor("param/" + p->name, p->value, Share::kReplicated);
  for (Stateful* part : run.state().parts)
    part->visit_state(bytes);
  return bytes.all;
}

class SkippedStep : public testing::TestWithParam<SmallConfig> {};

TEST_P(SkippedStep, LeavesNoTrace) {
  constexpr int kSteps = 12;
  SmallConfig config = GetParam();
  config.frozen_at = 5;
  config.steps = kSteps;  // the last one, after which 0/1 Adam has settled
  for (const int ranks : {1, 2, 3}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      SmallRun run(runtime.context(), comm, config);
      for (int step = 1; step <= kSteps; ++step)
        ASSERT_TRUE(run.step(step));
      const auto before = bytes_of(run);
      for (int again = 0; again < 2; ++again) {
        ASSERT_FALSE(run.step(kSteps, true));
        EXPECT_FALSE(run.update().is_dense());
        const auto after = bytes_of(run);
        ASSERT_EQ(after.size(), before.size());
        for (const auto& [name, bytes] : before)
          EXPECT_TRUE(after.at(name) == bytes) << name;
      }
      EXPECT_TRUE(run.step(kSteps));
      EXPECT_FALSE(bytes_of(run) == before);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Reducers, SkippedStep, testing::ValuesIn(test::small_configs()),
                         [](const auto& of) { return of.param.name; });

}  // namespace
}  // namespace gradwire
