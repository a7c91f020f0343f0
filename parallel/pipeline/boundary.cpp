#include "parallel/pipeline/boundary.h"

#include <array>
#include <utility>

namespace gradwire {
namespace {

class PlainBoundary final : public Boundary {
 public:
  explicit PlainBoundary(Communicator& stages) : comm_(stages) {}

  WorkPtr send(Context& cx, const BoundaryLink&, int peer, const Tensor& t) override {
    const std::array group{P2p{P2p::Dir::kSend, peer, t}};
    return comm_.exchange(group, {cx.stream, Traffic::kActivation});
  }
  BoundaryReceive receive(Context& cx, const BoundaryLink&, int peer, const Shape& shape,
                          DType dtype) override {
    Tensor buffer = Tensor::empty(cx, shape, dtype);
    const std::array group{P2p{P2p::Dir::kRecv, peer, buffer}};
    return {comm_.exchange(group, {cx.stream, Traffic::kActivation}), buffer};
  }
  Tensor take(Context& cx, const BoundaryLink&, BoundaryReceive& r) override {
    r.work->wait(cx.stream);
    return std::move(r.buffer);
  }

 private:
  Communicator& comm_;
};

}  // namespace

std::unique_ptr<Boundary> make_plain_boundary(Communicator& stages) {
  return std::make_unique<PlainBoundary>(stages);
}

}  // namespace gradwire
