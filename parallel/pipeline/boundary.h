// How results and their gradients travel from stage to stage. Posts messages and never waits for
// more than one of them; which message is due is the executor's business.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "core/context.h"
#include "core/state.h"
#include "core/tensor.h"

namespace gradwire {

// A message on its way to this rank.
struct BoundaryReceive {
  WorkPtr work;
  Tensor buffer;
  DType dtype = DType::kF32;  // what is wanted, where the message is of another
  explicit operator bool() const { return work != nullptr; }
};

// Between which stages, of which micro-batch, and in which direction.
struct BoundaryLink {
  int from_stage = 0;
  int micro = 0;
  bool gradient = false;
};

class Boundary : public Stateful {
 public:
  // Begins to send `t`, a result or a gradient.
  virtual WorkPtr send(Context& cx, const BoundaryLink& link, int peer, const Tensor& t) = 0;
  // Begins to receive one.
  virtual BoundaryReceive receive(Context& cx, const BoundaryLink& link, int peer,
                                  const Shape& shape, DType dtype) = 0;
  // Waits, and gives what was sent.
  virtual Tensor take(Context& cx, const BoundaryLink& link, BoundaryReceive& r) = 0;
  // What is kept from step to step, if anything.
  void visit_state(StateVisitor&) override {}
};

// Tensors as they are.
std::unique_ptr<Boundary> make_plain_boundary(Communicator& stages);

}  // namespace gradwire
