// One element of a step of stochastic gradient descent with momentum, shared by CPU and CUDA
// kernels. Sutskever et al., "On the importance of initialization and momentum in deep learning"
// (ICML 2013), in PyTorch's form: the learning rate multiplies the momentum; weight decay is added
// to the gradient.
#pragma once

#include "core/hd.h"

namespace gradwire {

struct SgdMath {
  float lr;
  float momentum;
  float weight_decay;
  float grad_scale;
  bool nesterov;

  GW_HD void operator()(float& value, float grad, float& m) const {
    const float g = grad * grad_scale + weight_decay * value;
    m = momentum * m + g;
    value -= lr * (nesterov ? g + momentum * m : m);
  }
  // Without momentum there is no buffer to keep.
  GW_HD void operator()(float& value, float grad) const {
    value -= lr * (grad * grad_scale + weight_decay * value);
  }
};

}  // namespace gradwire
