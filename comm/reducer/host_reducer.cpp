#include "comm/reducer/host_reducer.h"

#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace gradwire {
namespace {

// Like `t`, in the host's memory.
Tensor room_for(Context& host, const Tensor& t) {
  Context memory = host.in(Segment::kComm);
  return Tensor::empty(memory, t.shape(), t.dtype());
}

class HostReducer final : public Reducer {
 public:
  HostReducer(Context& host, std::span<const FlatBucket> layout, const MakeOnHost& make)
      : host_(host), layout_(layout.begin(), layout.end()), momenta_(layout.size()) {
    for (FlatBucket& b : layout_)
      b.flat = room_for(host_, b.flat);
    inner_ = make(host_, layout_);
  }

  void finish(Context& cx) override {
    inner_->finish(host_);
    for (const auto& [to, from] : back_)
      copy(cx, to, from);
    back_.clear();
  }

  std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const override {
    return inner_->sent_bytes(bucket, ranks);
  }
  ExchangeKinds supports() const override {
    return {ExchangeKind::kGradient, ExchangeKind::kMomentum, ExchangeKind::kDrift};
  }
  const char* name() const override { return inner_->name(); }
  std::string take_log_message() override { return inner_->take_log_message(); }
  void visit_state(StateVisitor& visitor) override { inner_->visit_state(visitor); }

 private:
  void do_submit(Context& cx, std::size_t bucket, const Exchange& e) override {
    check(!e.use, ErrorKind::kDevice, "an exchange of a GPU's values cannot be used on the way");
    Exchange on_host = e;
    if (e.live) {
      on_host.live = room_for(host_, e.live);
      copy(cx, on_host.live, e.live);
    }
    const Tensor value = to_host(cx, layout_.at(bucket).flat, contribution_of(e).value);
    if (auto* momentum = std::get_if<Momentum>(&on_host.what)) {
      if (!momenta_[bucket]) momenta_[bucket] = room_for(host_, momentum->momentum);
      const Tensor device = momentum->momentum;
      momentum->gradient = value;
      momentum->momentum = to_host(cx, momenta_[bucket], device);
      back_.emplace_back(device, momentum->momentum);
    } else if (auto* gradient = std::get_if<Gradient>(&on_host.what)) {
      back_.emplace_back(std::exchange(gradient->value, value), value);
    } else if (auto* drift = std::get_if<Drift>(&on_host.what)) {
      back_.emplace_back(std::exchange(drift->value, value), value);
    }
    inner_->submit(host_, bucket, on_host);
  }
  // An exchange that resets residuals tells the inner reducer so by itself.
  void do_reset_residuals(Context&, std::size_t) override {}

  static Tensor to_host(Context& cx, const Tensor& room, const Tensor& values) {
    copy(cx, room, values);
    return room;
  }

  Context host_;
  std::vector<FlatBucket> layout_;  // the inner reducer may hold on to it
  std::vector<Tensor> momenta_;     // by bucket
  std::unique_ptr<Reducer> inner_;
  std::vector<std::pair<Tensor, Tensor>> back_;  // where to, and what
};

}  // namespace

std::unique_ptr<Reducer> make_host_reducer(Context& cx, std::span<const FlatBucket> layout,
                                           const MakeOnHost& make) {
  if (cx.host == nullptr) return make(cx, layout);
  Context host = cx.on_host();
  return std::make_unique<HostReducer>(host, layout, make);
}

}  // namespace gradwire
