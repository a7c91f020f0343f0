#include "parallel/pipeline/boundary.h"

#include <utility>

namespace gradwire {
namespace {

class PlainBoundary final : public Boundary {
 public:
  explicit PlainBoundary(Communicator& stages) : comm_(stages) {}

  WorkPtr send(Context& cx, const BoundaryLink&, int peer,
               std::span<const Tensor> tensors) override {
    return post(cx, P2p::Dir::kSend, peer, tensors);
  }
  BoundaryReceive receive(Context& cx, const BoundaryLink&, int peer,
                          std::span<const TensorSpec> specs) override {
    BoundaryReceive r;
    for (const TensorSpec& s : specs)
      r.buffers.push_back(Tensor::empty(cx, s.shape, s.dtype));
    r.work = post(cx, P2p::Dir::kRecv, peer, r.buffers);
    return r;
  }
  std::vector<Tensor> take(Context& cx, const BoundaryLink&, BoundaryReceive& r) override {
    r.work->wait(cx.stream);
    return std::move(r.buffers);
  }

 private:
  WorkPtr post(Context& cx, P2p::Dir dir, int peer, std::span<const Tensor> tensors) {
    std::vector<P2p> group;
    for (const Tensor& t : tensors)
      group.push_back({dir, peer, t});
    return comm_.exchange(group, {cx.stream, Traffic::kActivation});
  }

  Communicator& comm_;
};

}  // namespace

std::unique_ptr<Boundary> make_plain_boundary(Communicator& stages) {
  return std::make_unique<PlainBoundary>(stages);
}

}  // namespace gradwire
