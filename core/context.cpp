#include "core/context.h"

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"

namespace gradwire {

void synchronize(Stream on) {
  on_device(
      on.device, [](Device) {}, [&](auto) { cuda::synchronize(on); });
}

Runtime::Runtime(RuntimeOptions options)
    : alloc_(make_caching_allocator(make_system_allocator(options.device), options.caching)),
      engine_(std::make_unique<Engine>()) {
  context_.stream = on_device(
      options.device,
      [](Device d) {
        return Stream{d, nullptr};
      },
      [](auto d) { return cuda::create_stream(d); });
  context_.alloc = alloc_.get();
  context_.engine = engine_.get();
  if (options.device.type == DeviceType::kCpu) return;
  host_ = std::make_unique<Host>();
  host_->alloc = make_caching_allocator(make_pinned_allocator(), options.caching);
  host_->context.alloc = host_->alloc.get();
  host_->context.engine = &host_->engine;
  context_.host = &host_->context;
}

Runtime::~Runtime() {
  engine_.reset();
  on_device(
      context_.stream.device, [](Device) {},
      [this](auto) { cuda::destroy_stream(context_.stream); });
}

void Runtime::synchronize() {
  gradwire::synchronize(context_.stream);
}

}  // namespace gradwire
