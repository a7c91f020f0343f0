// What every op asks of its operands before it reads them.
#pragma once

#include <initializer_list>

#include "core/context.h"
#include "core/tensor.h"

namespace gradwire {

// Error(kDevice) that names the op, and the first of these devices on which it does not run.
[[noreturn]] void refuse_devices(const char* op, Device runs_on, std::initializer_list<Device> of);

// An op runs on its context's device, and all its operands must lie there: a kernel would follow a
// pointer into the other's memory. Operands that are left out (empty tensors) may be anywhere.
// Errors: kDevice.
template <class... Tensors>
void check_devices(const Context& cx, const char* op, const Tensors&... operands) {
  const Device here = cx.stream.device;
  const auto device_of = [here](const Tensor& t) { return t ? t.device() : here; };
  if (((device_of(operands) == here) && ...)) return;
  refuse_devices(op, here, {device_of(operands)...});
}

}  // namespace gradwire
