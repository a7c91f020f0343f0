#include "parallel/pipeline/activation_transport.h"

#include <utility>

namespace gradwire {
namespace {

class PlainBoundary final : public ActivationTransport {
 public:
  explicit PlainBoundary(Communicator& stages) : comm_(stages) {}

  WorkPtr send(Context& cx, const ActivationLink&, int peer,
               std::span<const Tensor> tensors) override {
    return post(cx, P2p::Dir::kSend, peer, tensors);
  }
  PendingReceive receive(Context& cx, const ActivationLink&, int peer,
                         std::span<const TensorSpec> specs) override {
    PendingReceive r;
    for (const TensorSpec& s : specs)
      r.buffers.push_back(Tensor::empty(cx, s.shape, s.dtype));
    r.work = post(cx, P2p::Dir::kRecv, peer, r.buffers);
    return r;
  }
  std::vector<Tensor> take(Context& cx, const ActivationLink&, PendingReceive& r) override {
    r.work->wait(cx.stream);
    return std::move(r.buffers);
  }

 private:
  WorkPtr post(Context& cx, P2p::Dir dir, int peer, std::span<const Tensor> tensors) {
    std::vector<P2p> group;
    for (const Tensor& t : tensors)
      group.push_back({dir, peer, t});
    return comm_.batch_send_recv(group, {cx.stream, Traffic::kActivation});
  }

  Communicator& comm_;
};

}  // namespace

std::unique_ptr<ActivationTransport> make_plain_transport(Communicator& stages) {
  return std::make_unique<PlainBoundary>(stages);
}

}  // namespace gradwire
