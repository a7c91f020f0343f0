// How ranks come to agree on a set of tensors. submit() may start work at once, so that it overlaps
// with backward; finish() leaves the mean over the ranks in place. Owns whatever it carries over
// from step to step (residuals), as named state.
#pragma once

#include <memory>
#include <span>

#include "comm/communicator.h"
#include "core/state.h"

namespace gradwire {

class Reducer : public Stateful {
 public:
  // The same tensors in the same order of calls on every rank; not to be touched before finish().
  virtual void submit(Context& cx, std::span<const Tensor> tensors) = 0;
  virtual void finish(Context& cx) = 0;
};

// All-reduces every tensor as it is, from submit() on; one rank does nothing at all. `comm` must
// outlive it.
std::unique_ptr<Reducer> make_dense_reducer(Communicator& comm);

}  // namespace gradwire
