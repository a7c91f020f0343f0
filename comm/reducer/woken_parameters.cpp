#include "comm/reducer/woken_parameters.h"

#include <algorithm>
#include <atomic>

#include "comm/reducer/feedback_kernels.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

}  // namespace

WokenParameters::WokenParameters(Context& cx, Communicator& comm, const FlatBucket& layout)
    : comm_(comm), layout_(layout) {
  Context buffers = cx.in(Segment::kComm);
  woken_ = Tensor::zeros(buffers, {std::ssize(layout.params)}, DType::kU8);
}

bool WokenParameters::note(const Exchange& e) {
  if (!e.woken || !e.live) return false;
  std::fill_n(woken_.data<std::uint8_t>(), woken_.numel(), std::uint8_t{0});
  const Tensor value_of_rank = contribution_of(e).value;
  std::atomic<bool> any = false;
  parallel_for(value_of_rank.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    layout_.for_each_part(begin, end, [&](std::size_t i, std::int64_t from, std::int64_t to) {
      const std::int64_t at = layout_.begins[i] + from;
      const std::byte* const live = static_cast<const std::byte*>(e.live.raw()) + at / 8;
      const float* const value = value_of_rank.data<float>() + at;
      if (!feedback_kernels().wakes(live, to - from, kLeastGradient, value)) return;
      std::atomic_ref(woken_.data<std::uint8_t>()[i]).store(1, std::memory_order_relaxed);
      any = true;
    });
  });
  return any;
}

void WokenParameters::tell(Context& cx, const Exchange& e) {
  if (comm_.size() > 1) {
    const CallOptions uncounted{cx.stream, Traffic::kGradient, 0};
    comm_.all_reduce(woken_, ReduceOp::kOr, uncounted)->wait(cx.stream);
  }
  e.woken(woken_.host<std::uint8_t>());
}

}  // namespace gradwire
