#include "comm/device_stage.h"

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"

namespace gradwire {
namespace {

class StagedWork final : public Work {
 public:
  StagedWork(std::shared_ptr<Allocator> pool, std::vector<std::pair<Tensor, Tensor>> back,
             WorkPtr work)
      : pool_(std::move(pool)), back_(std::move(back)), work_(std::move(work)) {}

  void wait(Stream on) override {
    work_->wait(on);
    for (const auto& [device, host] : back_) {
      host.storage().record_use(on);
      on_device(
          device.device(), [](Device) {},
          [&](auto) { cuda::copy_to_device(on, device.raw(), host.raw(), device.bytes()); });
    }
    back_.clear();
  }

 private:
  std::shared_ptr<Allocator> pool_;
  std::vector<std::pair<Tensor, Tensor>> back_;
  WorkPtr work_;
};

}  // namespace

Tensor DeviceStage::host_like(const Tensor& t) const {
  Context host;
  host.alloc = pool_.get();
  host.segment = Segment::kComm;
  return Tensor::empty(host, t.shape(), t.dtype());
}

Tensor DeviceStage::read(const Tensor& t) {
  if (!is_on_device(t)) return t;
  check(after_.device == t.device(), ErrorKind::kDevice,
        "a call on a communicator: its stream is not of the tensor's device");
  Tensor host = host_like(t);
  on_device(
      t.device(), [](Device) {},
      [&](auto) { cuda::copy_to_host(after_, host.raw(), t.raw(), t.bytes()); });
  return host;
}

Tensor DeviceStage::write(const Tensor& t) {
  if (!is_on_device(t)) return t;
  back_.emplace_back(t, host_like(t));
  return back_.back().second;
}

Tensor DeviceStage::update(const Tensor& t) {
  if (!is_on_device(t)) return t;
  Tensor host = read(t);
  back_.emplace_back(t, host);
  return host;
}

WorkPtr DeviceStage::finish(WorkPtr started) && {
  return std::make_unique<StagedWork>(std::move(pool_), std::move(back_), std::move(started));
}

}  // namespace gradwire
