// Parameters that wake up while the second moments of the others stand still.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/ops/reduce/reduce.h"
#include "optim/onebit_adam_rule.h"

namespace gradwire {
namespace {

constexpr const char* kSettled = "settled";

}  // namespace

void OnebitAdam::add_awake(std::size_t bucket, Exchange& e) {
  e.woken = [this, bucket](std::span<const std::uint8_t> woken) {
    woken_[bucket].assign(woken.begin(), woken.end());
  };
  for (const Awake& a : awake_)
    if (a.bucket == bucket) e.beside.push_back(a.grad);
  e.renewed = std::exchange(renewed_[bucket], {});
}

// Out of what is exchanged, until step_awake().
void OnebitAdam::put_aside(Context& cx, Awake& a) {
  Bucket& b = buckets()[a.bucket];
  const FlatBucket& whole = exchanged(a.bucket);
  const std::array from = {whole.view_in(whole.flat, a.param), b.layout.view_in(b.m, a.param),
                           b.layout.view_in(b.v, a.param)};
  const std::array to = {&a.grad, &a.m, &a.v};
  Context optim = cx.in(Segment::kOptim);
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!*to[i]) *to[i] = Tensor::empty(optim, from[i].shape(), DType::kF32);
    copy(cx, *to[i], from[i]);
    fill(cx, from[i], 0.0);
  }
}

// AdamW's, with v going on from where it stood.
void OnebitAdam::step_awake(Context& cx, const StepInfo& step) {
  for (Awake& a : awake_) {
    Bucket& b = buckets()[a.bucket];
    const FlatBucket& whole = exchanged(a.bucket);
    copy(cx, whole.view_in(whole.flat, a.param), a.grad);
    copy(cx, b.layout.view_in(b.m, a.param), a.m);
    copy(cx, b.layout.view_in(b.v, a.param), a.v);
    a.norm.observe(step.grad_scale * step.grad_scale * sum_of_squares(cx, {&a.grad, 1}));
    adamw_step(cx, b, a.param, step, {.m = updates_, .v = watch_.updates() + a.norm.updates()});
    share_values(cx, a.bucket, a.param);
  }
}

void OnebitAdam::wake_and_settle(Context& cx) {
  std::vector<std::string> settled, woken;
  const auto ends = [&](const Awake& a) { return !watch_.frozen() || a.norm.settled(); };
  for (const Awake& a : awake_) {
    if (!ends(a)) continue;
    settle(cx, a);
    if (watch_.frozen()) settled.push_back(name_of(a));
  }
  std::erase_if(awake_, ends);
  for (std::size_t b = 0; b < woken_.size(); ++b) {
    const std::vector<std::uint8_t> marks = std::exchange(woken_[b], {});
    for (std::size_t i = 0; i < marks.size() && watch_.frozen(); ++i) {
      if (marks[i] == 0) continue;
      awake_.push_back({b, i, SettlingNorm(adam().beta2)});
      wake(awake_.back());
      woken.push_back(name_of(awake_.back()));
    }
  }
  if (!watch_.frozen()) renewed_.assign(buckets().size(), {});
  const auto note = [&](const char* what, std::span<const std::string> names) {
    if (names.empty()) return;
    news_ += fmt::format("{}after {} updates, second moment {} {}", news_.empty() ? "" : "; ",
                         updates_, what, few_names(names));
  };
  note("settled and frozen again of", settled);
  note("thawed, until it has settled, for first gradients within", woken);
}

void OnebitAdam::wake(const Awake& a) {
  Bucket& b = buckets()[a.bucket];
  b.awake[a.param] = true;
  b.live_is_made = false;
  renewed_[a.bucket].push_back(range_of(a));
}

// From here on v has the bias correction of the others', which have seen fewer updates.
void OnebitAdam::settle(Context& cx, const Awake& a) {
  Bucket& b = buckets()[a.bucket];
  const std::int64_t of_others = watch_.updates();
  const double beta2 = adam().beta2;
  scale(cx, b.layout.view_in(b.v, a.param),
        bias_corrected(beta2, 1.0, of_others + a.norm.updates()) /
            bias_corrected(beta2, 1.0, of_others));
  b.awake[a.param] = false;
  b.live_is_made = false;
  renewed_[a.bucket].push_back(range_of(a));
}

Exchange::Range OnebitAdam::range_of(const Awake& a) const {
  const FlatBucket& whole = exchanged(a.bucket);
  const std::int64_t begin = whole.begins[a.param];
  return {begin, begin + whole.params[a.param]->value.numel()};
}

std::string OnebitAdam::take_log_message() {
  const std::string of_all = watch_.take_log_message();
  const std::string of_some = std::exchange(news_, {});
  return of_all.empty() || of_some.empty() ? of_all + of_some : of_all + "; " + of_some;
}

std::string OnebitAdam::awake_text(const Awake& a) const {
  const auto same = [&](const Awake& b) { return a.bucket == b.bucket && a.param == b.param; };
  if (const auto found = std::ranges::find_if(awake_, same); found != awake_.end())
    return found->norm.text();
  const auto begins = [&](Exchange::Range r) { return r.begin == range_of(a).begin; };
  return std::ranges::any_of(renewed_[a.bucket], begins) ? kSettled : "";
}

// By parameter: empty, how far its second moment has settled, or that it just has.
void OnebitAdam::visit_awake(StateVisitor& visitor) {
  std::vector<Awake> awake;
  std::vector<std::vector<Exchange::Range>> renewed(buckets().size());
  for (std::size_t i = 0; i < buckets().size(); ++i) {
    Bucket& b = buckets()[i];
    for (std::size_t p = 0; p < b.layout.params.size(); ++p) {
      Awake a{i, p, SettlingNorm(adam().beta2)};
      std::string text = awake_text(a);
      visitor.text(state_name(*b.layout.params[p], "awake"), text);
      b.awake[p] = !text.empty() && text != kSettled;
      if (b.awake[p]) a.norm.read(text);
      if (!text.empty() && a.norm.updates() == 0) renewed[i].push_back(range_of(a));
      if (b.awake[p]) awake.push_back(std::move(a));
    }
  }
  awake_ = std::move(awake);
  renewed_ = std::move(renewed);
}

}  // namespace gradwire
