// A CPU and a CUDA context side by side. Without a GPU the fixture throws, which fails the test.
#pragma once

#include <gtest/gtest.h>

#include "core/tensor.h"

namespace gradwire::test {

struct BothDevices {
  Runtime cpu_runtime;
  Runtime cuda_runtime{RuntimeOptions{.device = {DeviceType::kCuda, 0}, .caching = {}}};
  Context& cpu = cpu_runtime.context();
  Context& cuda = cuda_runtime.context();

  Tensor on_cuda(const Tensor& host) {
    Tensor t = Tensor::empty(cuda, host.shape(), host.dtype());
    copy(cuda, t, host);
    return t;
  }
  std::vector<Tensor> on_cuda(const std::vector<Tensor>& host) {
    std::vector<Tensor> all;
    for (const Tensor& t : host)
      all.push_back(on_cuda(t));
    return all;
  }
};

class CudaTest : public testing::Test, protected BothDevices {};

template <class Parameter>
class CudaTestWithParam : public testing::TestWithParam<Parameter>, protected BothDevices {};

}  // namespace gradwire::test
