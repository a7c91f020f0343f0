// How results and their gradients travel from stage to stage: all tensors of one micro-batch and
// direction in one exchange. Posts messages and never waits for more than one of them; which
// message is due is the executor's business.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "core/context.h"
#include "core/state.h"
#include "core/tensor.h"
#include "parallel/pipeline/stage_model.h"

namespace gradwire {

// A message on its way to this rank.
struct PendingReceive {
  WorkPtr work;
  std::vector<Tensor> buffers;
  std::vector<DType> dtypes{};  // what is wanted, if messages are of other types
  explicit operator bool() const { return work != nullptr; }
};

// Between which stages, of which micro-batch, and in which direction.
struct ActivationLink {
  int from_stage = 0;
  int micro = 0;
  bool gradient = false;
};

class ActivationTransport : public Stateful {
 public:
  // Begins to send these tensors, results or gradients; at least one.
  virtual WorkPtr send(Context& cx, const ActivationLink& link, int peer,
                       std::span<const Tensor> tensors) = 0;
  // Begins to receive them.
  virtual PendingReceive receive(Context& cx, const ActivationLink& link, int peer,
                                 std::span<const TensorSpec> specs) = 0;
  // Waits, and gives what was sent.
  virtual std::vector<Tensor> take(Context& cx, const ActivationLink& link, PendingReceive& r) = 0;
  // What is kept from step to step, if anything.
  void visit_state(StateVisitor&) override {}
};

// Tensors as they are.
std::unique_ptr<ActivationTransport> make_plain_transport(Communicator& stages);

}  // namespace gradwire
