// Which coordinates of a bucket any rank has ever contributed to, the same on all ranks. A codec
// that cannot send zeros must leave the others alone: a frozen or never used parameter, and the
// gaps between parameters, stay as they are without anybody listing them.
#pragma once

#include <cstddef>
#include <span>

#include "comm/communicator.h"
#include "core/flat_bucket.h"
#include "core/state.h"

namespace gradwire {

class TouchedMask {
 public:
  TouchedMask(Context& cx, Communicator& comm, const FlatBucket& layout);

  // u8 [ceil(n/8)], little-endian bits: set where touched.
  std::span<const std::byte> bits() const;
  // From values that are the same on all ranks: what is not zero has been touched.
  void learn(const Tensor& mean);
  // Whether this rank touches what nobody has yet. What it is goes to share().
  bool has_news(const Tensor& x);
  // f(i) for every element of the news.
  template <class F>
  void for_each_news(const F& f) const;
  // The news of all ranks become touched. Collective; to be called if any rank has news.
  void share(Context& cx);
  // <prefix>/touched/<parameter>.
  void visit_state(StateVisitor& visitor, std::string_view prefix, const FlatBucket& layout);

 private:
  Communicator& comm_;
  std::int64_t n_;
  Tensor touched_, news_;  // u8 [ceil(n/8)]
};

template <class F>
void TouchedMask::for_each_news(const F& f) const {
  const auto* news = static_cast<const unsigned char*>(news_.raw());
  for (std::int64_t b = 0; b < news_.numel(); ++b)
    for (int j = 0; news[b] >> j != 0; ++j)
      if ((news[b] >> j & 1) != 0) f(8 * b + j);
}

}  // namespace gradwire
