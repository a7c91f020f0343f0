// One walk over everything that must survive a restart serves save, load and compare: parameters,
// optimizer, reducer residuals, sampler position, policy phase. State is named, never positional,
// and exists from construction, so that a load can tell a missing name from an extra one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace gradwire {

enum class Share : std::uint8_t {
  kReplicated,  // every rank holds the same value: saved once
  kPerRank,     // each its own
  kMean,  // each its own; on another number of ranks all take the mean of those that were saved
  kPerLayout,  // each its own, of worth to this layout alone: on another it stays as constructed
};

class StateVisitor {
 public:
  virtual ~StateVisitor() = default;
  // The visitor may read the tensor or write into it; it never replaces the handle.
  virtual void tensor(std::string_view name, Tensor& t, Share share = Share::kReplicated) = 0;
  // This rank's elements [begin, begin + t.numel()) of a tensor of `full` elements that the slices
  // of all ranks cover without overlap; t is flat and may be empty. However a checkpoint was cut,
  // each rank gets the elements of its slice.
  virtual void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) = 0;
  virtual void number(std::string_view name, std::int64_t& v, Share share = Share::kReplicated) = 0;
  virtual void number(std::string_view name, double& v, Share share = Share::kReplicated) = 0;
  virtual void text(std::string_view name, std::string& v, Share share = Share::kReplicated) = 0;
};

class Stateful {
 public:
  virtual ~Stateful() = default;
  virtual void visit_state(StateVisitor& v) = 0;
};

}  // namespace gradwire
