// How ranks come to agree on the contents of buckets. submit() may start work at once, so that it
// overlaps with backward; finish() leaves what was agreed on in place. Owns whatever it carries
// over from step to step (residuals), as state named by parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "core/exchange.h"
#include "core/flat_bucket.h"
#include "core/state.h"

namespace gradwire {

class Reducer : public Stateful {
 public:
  // Bucket `bucket` of the layout that the reducer was made for: the same buckets in the same order
  // of calls on every rank, each at most once before finish(). The tensors must not be touched
  // before finish(). Values must be finite on every rank: whoever calls has asked all ranks. If the
  // exchange resets residuals, what was carried over for the bucket is forgotten first. Errors:
  // kUsage for a kind of exchange that the reducer does not support.
  void submit(Context& cx, std::size_t bucket, const Exchange& e);
  virtual void finish(Context& cx) = 0;
  // Payload that the busiest of `ranks` ranks sends for such a bucket in a usual step: for the cost
  // model, and for worlds of other sizes than the reducer's own.
  virtual std::int64_t sent_bytes(const FlatBucket& bucket, int ranks) const = 0;
  // What submit() takes, and the method's name for errors.
  virtual ExchangeKinds supports() const = 0;
  virtual const char* name() const = 0;
  // A sentence for the log, if there is something to say since the last call.
  virtual std::string take_log_message() { return {}; }

 private:
  virtual void do_submit(Context& cx, std::size_t bucket, const Exchange& e) = 0;
  // Forgets what is carried over for the bucket (residuals, estimates, the last answer), as in a
  // new reducer: a stage of exchanges of one kind has ended, and another begins.
  virtual void do_reset_residuals(Context& cx, std::size_t bucket) = 0;
};

// Exchange::use of all n elements, for reducers that have them all at once.
void use_all(const Exchange& e, std::int64_t n);

// All-reduces every tensor as it is, from submit() on; one rank does nothing at all. `comm` must
// outlive it.
std::unique_ptr<Reducer> make_dense_reducer(Communicator& comm);

// Half of that, bit for bit: reduce-scatters every tensor, whose elements are a multiple of the
// ranks, so that the mean is in this rank's slice alone and the rest stays this rank's own.
std::unique_ptr<Reducer> make_scatter_reducer(Communicator& comm);

// The part of a flat tensor that is this rank's if all ranks have equal ones.
Tensor own_slice(const Tensor& t, const Communicator& comm);

}  // namespace gradwire
