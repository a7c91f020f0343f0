// Carries the device tensors of one call on a communicator of the host through host memory: what
// the call reads is copied there before it starts, what it writes is copied back when its handle
// has been waited for. Host tensors pass as they are. Pinned memory, so that a GPU copies at full
// speed.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "core/memory.h"
#include "core/tensor.h"

namespace gradwire {

inline bool is_on_device(const Tensor& t) {
  return t.device().type != DeviceType::kCpu;
}

class DeviceStage {
 public:
  // Memory comes from `pool`, which may be shared by many calls. `after` is the stream whose work
  // so far makes the values that are read; it must be of the tensors' device.
  DeviceStage(std::shared_ptr<Allocator> pool, Stream after)
      : pool_(std::move(pool)), after_(after) {}

  // The values of `t` in host memory. Waits for the stream. Errors: kDevice.
  Tensor read(const Tensor& t);
  // Host memory for what becomes of `t`; its contents are not defined before the call is done.
  Tensor write(const Tensor& t);
  // Both: for a call in place.
  Tensor update(const Tensor& t);

  // The handle of the call that was started with these tensors: its wait() also copies back what
  // was written, after which the device tensors may be used on the stream that waited.
  WorkPtr finish(WorkPtr started) &&;

 private:
  Tensor host_like(const Tensor& t) const;

  std::shared_ptr<Allocator> pool_;
  Stream after_;
  std::vector<std::pair<Tensor, Tensor>> back_;  // where to, and what
};

}  // namespace gradwire
