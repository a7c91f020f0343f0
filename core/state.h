// One walk over everything that must survive a restart serves save, load and compare: parameters,
// optimizer, reducer residuals, sampler position, policy phase. State is named, never positional,
// and exists from construction, so that a load can tell a missing name from an extra one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace gradwire {

// Whether every rank holds the same value (saved once) or its own (saved by each).
enum class Share : std::uint8_t { kReplicated, kPerRank };

class StateVisitor {
 public:
  virtual ~StateVisitor() = default;
  // The visitor may read the tensor or write into it; it never replaces the handle.
  virtual void tensor(std::string_view name, Tensor& t, Share share = Share::kReplicated) = 0;
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
