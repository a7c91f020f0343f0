#include "comm/reducer/touched_mask.h"

#include <algorithm>
#include <atomic>
#include <string>

#include <fmt/format.h>

#include "comm/reducer/feedback_kernels.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

constexpr std::int64_t kBytesPerTask = std::int64_t{1} << 12;

std::byte* bytes_of(const Tensor& t) {
  return static_cast<std::byte*>(t.raw());
}

}  // namespace

TouchedMask::TouchedMask(Context& cx, Communicator& comm, const FlatBucket& layout)
    : comm_(comm), n_(layout.numel()) {
  Context buffers = cx.in(Segment::kComm);
  touched_ = Tensor::zeros(buffers, {(n_ + 7) / 8}, DType::kU8);
  news_ = Tensor::zeros(buffers, {(n_ + 7) / 8}, DType::kU8);
}

std::span<const std::byte> TouchedMask::bits() const {
  return {bytes_of(touched_), static_cast<std::size_t>(touched_.numel())};
}

void TouchedMask::learn(const Tensor& mean) {
  if (!has_news(mean)) return;
  for (std::int64_t b = 0; b < news_.numel(); ++b)
    bytes_of(touched_)[b] |= bytes_of(news_)[b];
}

bool TouchedMask::has_news(const Tensor& x) {
  std::atomic<bool> any = false;
  parallel_for(news_.numel(), kBytesPerTask, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = std::min(n_, 8 * end) - 8 * begin;
    if (feedback_kernels().find_news(x.data<float>() + 8 * begin, bytes_of(touched_) + begin, count,
                                     bytes_of(news_) + begin)) {
      any = true;
    }
  });
  return any;
}

void TouchedMask::share(Context& cx) {
  const CallOptions uncounted{cx.stream, Traffic::kGradient, 0};
  comm_.all_reduce(news_, ReduceOp::kOr, uncounted)->wait(cx.stream);
  for (std::int64_t i = 0; i < news_.numel(); ++i)
    bytes_of(touched_)[i] |= bytes_of(news_)[i];
}

void TouchedMask::visit_state(StateVisitor& visitor, std::string_view prefix,
                              const FlatBucket& layout) {
  for (std::size_t i = 0; i < layout.params.size(); ++i) {
    // Parameters begin at whole bytes.
    const std::int64_t begin = layout.begins[i] / 8;
    const std::int64_t end = (layout.begins[i] + layout.params[i]->value.numel() + 7) / 8;
    Tensor part = touched_.slice(begin, end);
    visitor.tensor(fmt::format("{}/touched/{}", prefix, layout.params[i]->name), part);
  }
}

}  // namespace gradwire
