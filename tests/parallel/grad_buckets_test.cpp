#include "parallel/grad_buckets.h"

#include <cstdint>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "core/error.h"

namespace gradwire {
namespace {

class GradBucketsTest : public testing::Test {
 protected:
  void add(std::initializer_list<std::int64_t> shape) {
    owned.push_back(std::make_unique<Parameter>());
    owned.back()->name = "p" + std::to_string(params.size());
    owned.back()->value = Tensor::zeros(cx, shape, DType::kF32);
    params.push_back(owned.back().get());
  }
  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<std::unique_ptr<Parameter>> owned;
  std::vector<Parameter*> params;
};

TEST_F(GradBucketsTest, LaysSlicesOutInReverseAlignedAndDisjoint) {
  add({3, 5});
  add({16});
  add({1});
  const GradBuckets buckets(cx, params, 1 << 20);
  ASSERT_EQ(buckets.size(), 1U);
  EXPECT_EQ(buckets.elements(), 32);
  EXPECT_EQ(buckets[0].flat.numel(), 48);
  EXPECT_EQ(buckets[0].params, (std::vector<Parameter*>{params[2], params[1], params[0]}));
  const auto* base = buckets[0].flat.data<float>();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(base) % 64, 0U);
  EXPECT_EQ(params[2]->grad.data<float>(), base);
  EXPECT_EQ(params[1]->grad.data<float>(), base + 16);
  EXPECT_EQ(params[0]->grad.data<float>(), base + 32);
  EXPECT_EQ(params[0]->grad.shape(), (Shape{3, 5}));
}

TEST_F(GradBucketsTest, CutsAtTheLimitAndKeepsLargeParametersWhole) {
  for (const std::int64_t n : {16, 16, 100, 16, 16})
    add({n});
  const GradBuckets buckets(cx, params, 32 * 4);
  ASSERT_EQ(buckets.size(), 3U);
  EXPECT_EQ(buckets[0].params, (std::vector<Parameter*>{params[4], params[3]}));
  EXPECT_EQ(buckets[1].params, (std::vector<Parameter*>{params[2]}));
  EXPECT_EQ(buckets[2].params, (std::vector<Parameter*>{params[1], params[0]}));
  EXPECT_EQ(buckets.bucket_of(*params[2]), 1U);
  const Parameter stranger;
  EXPECT_THROW(buckets.bucket_of(stranger), Error);
}

TEST_F(GradBucketsTest, CanBeCutIntoEqualSlices) {
  for (const std::int64_t n : {5, 33, 100})
    add({n});
  const GradBuckets buckets(cx, params, 64 * 4, {}, 3);
  ASSERT_EQ(buckets.size(), 2U);
  EXPECT_EQ(buckets[0].flat.numel(), 144);  // 112 elements and their gap, to 3 x 16
  EXPECT_EQ(buckets[1].flat.numel(), 96);   // 48 + 16
  EXPECT_EQ(buckets[1].flat.data<float>(), buckets[0].flat.data<float>() + 144);
  EXPECT_EQ(params[0]->grad.data<float>(), buckets[1].flat.data<float>() + 48);
}

TEST_F(GradBucketsTest, EmptyGradientsBecomeZerosAndOthersStay) {
  add({2});
  add({2});
  GradBuckets buckets(cx, params, 1 << 20);
  fill(cx, params[0]->grad, 7);
  accumulate_grad(cx, *params[1], Tensor::from(cx, {2}, std::vector<float>{1, 2}));
  buckets.fill_empty(cx, 0);
  EXPECT_FALSE(params[0]->grad_empty);
  EXPECT_EQ(params[0]->grad.to_host<float>(cx), (std::vector<float>{0, 0}));
  EXPECT_EQ(params[1]->grad.to_host<float>(cx), (std::vector<float>{1, 2}));
}

TEST_F(GradBucketsTest, LetsGoOfTheParametersAtTheEnd) {
  add({2});
  { const GradBuckets buckets(cx, params, 1 << 20); }
  EXPECT_FALSE(params[0]->grad);
  EXPECT_EQ(runtime.allocator().stats().of(Segment::kGrads).live_bytes, 0U);
}

TEST_F(GradBucketsTest, NoParametersNoBuckets) {
  const GradBuckets buckets(cx, params, 1 << 20);
  EXPECT_EQ(buckets.size(), 0U);
}

TEST_F(GradBucketsTest, FrozenParametersAndNoRoomAreErrors) {
  add({2});
  EXPECT_THROW(GradBuckets(cx, params, 0), Error);
  params[0]->trainable = false;
  EXPECT_THROW(GradBuckets(cx, params, 64), Error);
}

}  // namespace
}  // namespace gradwire
