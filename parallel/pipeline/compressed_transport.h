// Boundaries that send fewer bytes than results and gradients have. Only training uses them:
// evaluation and generation send tensors as they are, and integers always travel as they are.
// Tensors live in host memory.
#pragma once

#include <memory>

#include "core/context.h"
#include "parallel/pipeline/activation_transport.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {

// f32 rounded to bf16, to nearest, and widened on arrival; bf16 travels as it is. `stages` must
// outlive it.
std::unique_ptr<ActivationTransport> make_bf16_transport(Communicator& stages);

// One byte an element and five for every 256 of them (difference_code.h). Of a result travels
//   Q(a - m),   m += Q(a - m)   on both ends, and the receiver goes on with m
// where m, one for each link and micro-batch of a step, is what the receiver made of the same
// micro-batch of the step before (Wang et al., "Fine-tuning language models over slow networks
// using activation compression with guarantees", NeurIPS 2022, algorithm 1). The sender takes the
// difference to what the receiver really has, so that what one step loses is in the next step's
// difference: for activations that come back, the error goes to zero. If samples do not come
// back, a block of a is often nearer to zero than to m; then it is sent by itself, as m = 0, and no
// loss is ever larger than without references. That also heals a reference of a step that went
// wrong. Gradients are sent as Q(g), as there: an error fed back would meet other samples'
// activations.
//
// A block that is not finite arrives as NaN, so that the step is skipped, and leaves m as it was.
//
// State: the references, Share::kPerLayout, as boundary/stage<from>/micro<m>; in the first step
// they are zero. They take up four bytes an element, link and micro-batch on both of its ranks.
//
// `shape` is that of all results: of the tensors of floats that a stage hands on there is one, in
// this shape; anything else is Error(kConfig), since a reference is of one tensor and one shape.
// `stages` must outlive it.
std::unique_ptr<ActivationTransport> make_int8_transport(Context& cx, Communicator& stages,
                                                         const Schedule& schedule,
                                                         const Shape& shape);

}  // namespace gradwire
