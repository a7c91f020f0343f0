// A runtime and short ways to make tensors, for tests of single ops.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "core/tape.h"
#include "tests/support/expect_error.h"

namespace gradwire::test {

class OpTest : public testing::Test {
 protected:
  Tensor vec(const std::vector<float>& v) {
    return Tensor::from(cx, {static_cast<std::int64_t>(v.size())}, v);
  }
  Tensor ids(const std::vector<std::int32_t>& v) {
    return Tensor::from(cx, {static_cast<std::int64_t>(v.size())}, v);
  }
  Tensor random(const Shape& shape, DType type = DType::kF32, std::uint64_t seed = 1) {
    const Tensor t = Tensor::zeros(cx, shape, DType::kF32);
    fill_normal(cx, t, {.seed = seed}, 1.0);
    return cast(cx, t, type);
  }
  std::vector<float> values(const Tensor& t) { return t.to_host<float>(cx); }

  Runtime runtime;
  Context& cx = runtime.context();
};

}  // namespace gradwire::test
