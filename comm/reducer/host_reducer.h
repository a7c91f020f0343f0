// A reducer that works on host memory, for buckets on a GPU: compression's codecs and feedback are
// the CPU's, so messages and residuals are byte for byte those of a run on the CPU that is given
// the same values.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "comm/reducer/reducer.h"
#include "core/context.h"
#include "core/flat_bucket.h"

namespace gradwire {

// Makes a reducer for buckets in the memory of `host`.
using MakeOnHost =
    std::function<std::unique_ptr<Reducer>(Context& host, std::span<const FlatBucket> layout)>;

// What `make` gives if `cx` is of the host. Else what it makes for host copies of the buckets:
// submit() copies what this rank brings to the host, finish() what was agreed on back to the
// device, where it is in place once the stream of `cx` has passed. Host memory for the values and,
// once they are exchanged, the momenta of all buckets stays allocated. Exchange::use and recalled
// momenta, which are of the CPU only, are refused: Error(kDevice). `layout`'s parameters must
// outlive it.
std::unique_ptr<Reducer> make_host_reducer(Context& cx, std::span<const FlatBucket> layout,
                                           const MakeOnHost& make);

}  // namespace gradwire
