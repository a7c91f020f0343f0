#include "parallel/grad_buckets.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/glob.h"

namespace gradwire {
namespace {

constexpr std::int64_t kElementBytes = 4;
constexpr std::int64_t kAlignElements = 64 / kElementBytes;

std::int64_t aligned(std::int64_t elements, std::int64_t to = kAlignElements) {
  return (elements + to - 1) / to * to;
}

// Of each parameter that is in a conditional set, the number of that.
std::unordered_map<const Parameter*, std::size_t> sets_of(std::span<const ParameterSet> sets,
                                                          const std::string& alone) {
  std::unordered_map<const Parameter*, std::size_t> set_of;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    for (const Parameter* p : sets[s]) {
      if (set_of.emplace(p, s).second && p->name != alone) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("gradient buckets: '{}' cannot be in this conditional set", p->name));
    }
  }
  return set_of;
}

// From the last declared on, whose gradients are ready first; conditional sets, one after the
// other, behind all others.
std::vector<Parameter*> in_order_of_buckets(
    std::span<Parameter* const> params,
    const std::unordered_map<const Parameter*, std::size_t>& set_of) {
  std::vector<Parameter*> order(params.rbegin(), params.rend());
  if (set_of.empty()) return order;
  std::ranges::stable_sort(order, {}, [&](const Parameter* p) {
    const auto found = set_of.find(p);
    return found == set_of.end() ? 0 : found->second + 1;
  });
  return order;
}

}  // namespace

GradBuckets::GradBuckets(Context& cx, std::span<Parameter* const> params, std::int64_t bucket_bytes,
                         std::span<const std::string> uncompressed, int slices,
                         const std::string& alone, std::span<const ParameterSet> conditional) {
  if (bucket_bytes < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("gradient buckets of {} bytes", bucket_bytes));
  }
  struct Range {
    std::int64_t begin, end;
  };
  std::vector<Range> of_param, of_bucket;
  std::int64_t total = 0;
  const auto close_bucket = [&] {
    if (of_bucket.empty()) return;
    Range& last = of_bucket.back();
    total = last.end = last.begin + aligned(last.end - last.begin, slices * kAlignElements);
  };
  const auto set_of = sets_of(conditional, alone);
  for (Parameter* const next : in_order_of_buckets(params, set_of)) {
    Parameter& p = *next;
    const auto found = set_of.find(&p);
    const std::size_t set = found == set_of.end() ? kNoSet : found->second;
    if (!p.trainable) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("gradient buckets: '{}' is not trainable", p.name));
    }
    const std::int64_t size = aligned(p.value.numel());
    const bool is_uncompressed = matches_any(p.name, uncompressed);
    const bool shares =
        !buckets_.empty() && p.name != alone && buckets_.back().params.front()->name != alone;
    const bool fits = shares && buckets_.back().uncompressed == is_uncompressed &&
                      sets_.back() == set &&
                      (total + size - of_bucket.back().begin) * kElementBytes <= bucket_bytes;
    if (!fits) {
      close_bucket();
      buckets_.emplace_back();
      buckets_.back().uncompressed = is_uncompressed;
      sets_.push_back(set);
      of_bucket.push_back({total, total});
    }
    buckets_.back().params.push_back(&p);
    bucket_of_.emplace(&p, buckets_.size() - 1);
    of_param.push_back({total, total + p.value.numel()});
    total += size;
    of_bucket.back().end = total;
    elements_ += p.value.numel();
  }
  close_bucket();
  Context grads = cx.in(Segment::kGrads);
  const Tensor flat = Tensor::zeros(grads, {total}, DType::kF32);
  std::size_t at = 0;
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    buckets_[b].flat = flat.slice(of_bucket[b].begin, of_bucket[b].end);
    for (Parameter* p : buckets_[b].params) {
      p->grad = flat.slice(of_param[at].begin, of_param[at].end).view(p->value.shape());
      buckets_[b].begins.push_back(of_param[at].begin - of_bucket[b].begin);
      p->grad_empty = true;
      ++at;
    }
  }
}

GradBuckets::~GradBuckets() {
  for (const FlatBucket& b : buckets_) {
    for (Parameter* p : b.params) {
      p->grad = {};
      p->grad_empty = true;
    }
  }
}

std::size_t GradBuckets::bucket_of(const Parameter& p) const {
  const auto found = bucket_of_.find(&p);
  if (found == bucket_of_.end()) {
    throw Error(ErrorKind::kUsage, fmt::format("gradient buckets: '{}' is in none", p.name));
  }
  return found->second;
}

void GradBuckets::fill_empty(Context& cx, std::size_t bucket) {
  for (Parameter* p : buckets_[bucket].params) {
    if (p->grad_empty) fill(cx, p->grad, 0.0);
    p->grad_empty = false;
  }
}

}  // namespace gradwire
