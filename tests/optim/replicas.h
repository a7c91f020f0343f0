// Ranks as plain objects for tests of optimizers that work on buckets: the test itself agrees on
// means, exactly (in double, in order of rank), so that what is left to test is local mathematics.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/flat_bucket.h"
#include "core/state.h"
#include "optim/optimizer.h"

namespace gradwire::test {

// Keeps a copy of all state by name, or puts it back.
class StateCopy final : public StateVisitor {
 public:
  explicit StateCopy(Context& cx) : cx_(cx) {}
  void tensor(std::string_view name, Tensor& t, Share) override {
    std::vector<float>& kept = tensors[std::string(name)];
    if (restoring) return copy(cx_, t, Tensor::from(cx_, t.shape(), kept));
    kept = t.to_host<float>(cx_);
  }
  void slice(std::string_view name, Tensor&, std::int64_t, std::int64_t) override {
    FAIL() << name;
  }
  void number(std::string_view name, std::int64_t& v, Share) override {
    std::int64_t& kept = integers[std::string(name)];
    (restoring ? v : kept) = restoring ? kept : v;
  }
  void number(std::string_view name, double& v, Share) override {
    double& kept = reals[std::string(name)];
    (restoring ? v : kept) = restoring ? kept : v;
  }
  void text(std::string_view name, std::string& v, Share) override {
    std::string& kept = texts[std::string(name)];
    (restoring ? v : kept) = restoring ? kept : v;
  }
  friend bool operator==(const StateCopy& a, const StateCopy& b) {
    return a.tensors == b.tensors && a.integers == b.integers && a.reals == b.reals &&
           a.texts == b.texts;
  }

  std::map<std::string, std::vector<float>> tensors;
  std::map<std::string, std::int64_t> integers;
  std::map<std::string, double> reals;
  std::map<std::string, std::string> texts;
  bool restoring = false;

 private:
  Context& cx_;
};

// One rank: parameters "a", "b.bias" in the first bucket and "c" in the second, with gaps.
struct Replica {
  static constexpr std::int64_t kSizes[] = {37, 5, 100};
  static constexpr const char* kNames[] = {"a", "b.bias", "c"};

  explicit Replica(Context& cx) {
    for (std::size_t i = 0; i < 3; ++i) {
      Parameter& p = *params.emplace_back(std::make_unique<Parameter>());
      p.name = kNames[i];
      p.value = Tensor::empty(cx, {kSizes[i]}, DType::kF32);
      fill_normal(cx, p.value, Rng{17, 1000 * i}, 1.0);
    }
    add_bucket(cx, {0, 1});
    add_bucket(cx, {2});
  }
  void add_bucket(Context& cx, const std::vector<std::size_t>& which) {
    FlatBucket& b = buckets.emplace_back();
    std::int64_t end = 0;
    for (const std::size_t i : which) {
      b.params.push_back(params[i].get());
      b.begins.push_back(end);
      end += (kSizes[i] + 15) / 16 * 16;
    }
    b.flat = Tensor::zeros(cx, {end}, DType::kF32);
    for (std::size_t i = 0; i < which.size(); ++i) {
      b.params[i]->grad = b.view_in(b.flat, i);
      b.params[i]->grad_empty = false;
    }
  }
  std::vector<Parameter*> list() const {
    std::vector<Parameter*> result;
    for (const auto& p : params)
      result.push_back(p.get());
    return result;
  }
  std::vector<float> values(Context& cx) const {
    std::vector<float> all;
    for (const auto& p : params) {
      const std::vector<float> one = p->value.to_host<float>(cx);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  std::vector<std::unique_ptr<Parameter>> params;
  std::vector<FlatBucket> buckets;
  std::unique_ptr<Optimizer> optimizer;
};

// A group of replicas that take the same steps.
class Replicas {
 public:
  using Make = std::function<std::unique_ptr<Optimizer>(Context&, const Replica&)>;
  // Gradient of element i of parameter p on `rank` in step `step`.
  using Gradient = std::function<double(int rank, int step, std::size_t p, std::int64_t i)>;

  Replicas(Context& cx, int ranks, Make make, Gradient gradient)
      : cx_(cx), make_(std::move(make)), gradient_(std::move(gradient)) {
    for (int r = 0; r < ranks; ++r) {
      replicas_.push_back(std::make_unique<Replica>(cx));
      replicas_.back()->optimizer = make_(cx_, *replicas_.back());
    }
  }

  Replica& operator[](int rank) { return *replicas_[static_cast<std::size_t>(rank)]; }
  Optimizer& optimizer(int rank = 0) { return *(*this)[rank].optimizer; }
  int size() const { return static_cast<int>(replicas_.size()); }
  std::vector<float> values(int rank = 0) { return (*this)[rank].values(cx_); }
  StateCopy state(int rank = 0) {
    StateCopy s(cx_);
    optimizer(rank).visit_state(s);
    return s;
  }

  // Step `step` of the schedule; its gradients are those of `gradients_of`, or of `step`.
  void step(int step, bool settle = false, int gradients_of = 0) {
    set_gradients(gradients_of == 0 ? step : gradients_of);
    StepInfo info{.step = step,
                  .lr = lr,
                  .grad_scale = grad_scale,
                  .grad_norm = mean_norm(),
                  .settle = settle};
    const StepNeeds needs = optimizer().needs(settle);
    for (int r = 1; r < size(); ++r) {
      EXPECT_EQ(optimizer(r).needs(settle).exchange, needs.exchange) << step;
      EXPECT_EQ(optimizer(r).needs(settle).gradients, needs.gradients) << step;
    }
    if (needs.gradients) agree_on_gradients();
    if (needs.exchange) agree_on_exchanges(info);
    for (int r = 0; r < size(); ++r)
      optimizer(r).apply(cx_, info);
    for (int r = 0; r < size(); ++r)
      messages += r == 0 ? optimizer(r).take_log_message()
                         : (optimizer(r).take_log_message(), std::string());
  }
  void expect_equal(int step) {
    for (int r = 1; r < size(); ++r)
      ASSERT_EQ(values(0), values(r)) << "rank " << r << " after step " << step;
  }
  // New processes: parameters and optimizers anew, with rank 0's parameters and state.
  void reload() {
    StateCopy saved = state();
    const std::vector<std::unique_ptr<Replica>> old = std::move(replicas_);
    replicas_.clear();
    saved.restoring = true;
    for (std::size_t r = 0; r < old.size(); ++r) {
      Replica& fresh = *replicas_.emplace_back(std::make_unique<Replica>(cx_));
      for (std::size_t i = 0; i < fresh.params.size(); ++i)
        copy(cx_, fresh.params[i]->value, old[0]->params[i]->value);
      fresh.optimizer = make_(cx_, fresh);
      fresh.optimizer->visit_state(saved);
    }
  }

  double lr = 0.01;
  double grad_scale = 1.0;
  std::string messages;  // rank 0's so far
  // What a lossy exchange adds to the agreed mean of coordinate i; none by default.
  std::function<double(std::int64_t i)> noise = [](std::int64_t) { return 0.0; };

 private:
  void set_gradients(int step) {
    for (int r = 0; r < size(); ++r) {
      Replica& replica = (*this)[r];
      for (std::size_t p = 0; p < replica.params.size(); ++p) {
        float* grad = replica.params[p]->grad.data<float>();
        for (std::int64_t i = 0; i < Replica::kSizes[p]; ++i)
          grad[i] = static_cast<float>(gradient_(r, step, p, i));
      }
    }
  }
  double mean_norm() {
    double sum = 0.0;
    for (std::size_t b = 0; b < (*this)[0].buckets.size(); ++b) {
      for (std::int64_t i = 0; i < (*this)[0].buckets[b].numel(); ++i) {
        const double mean = mean_of([&](Replica& r) { return r.buckets[b].flat.data<float>()[i]; });
        sum += mean * mean;
      }
    }
    return std::sqrt(sum);
  }
  template <class F>
  double mean_of(const F& f) {
    double sum = 0.0;
    for (int r = 0; r < size(); ++r)
      sum += static_cast<double>(f((*this)[r]));
    return sum / size();
  }
  void agree_on_gradients() {
    for (std::size_t b = 0; b < (*this)[0].buckets.size(); ++b) {
      for (std::int64_t i = 0; i < (*this)[0].buckets[b].numel(); ++i) {
        const double mean = mean_of([&](Replica& r) { return r.buckets[b].flat.data<float>()[i]; });
        for (int r = 0; r < size(); ++r)
          (*this)[r].buckets[b].flat.data<float>()[i] = static_cast<float>(mean);
      }
    }
  }
  void agree_on_exchanges(const StepInfo& info) {
    std::vector<std::span<const std::optional<Exchange>>> of_rank;
    for (int r = 0; r < size(); ++r)
      of_rank.push_back(optimizer(r).exchange(cx_, info));
    for (std::size_t b = 0; b < of_rank[0].size(); ++b) {
      if (!of_rank[0][b]) continue;
      const Exchange& first = *of_rank[0][b];
      for (std::int64_t i = 0; i < contribution_of(first).value.numel(); ++i) {
        if (first.live && !is_live(first.live, i)) continue;
        double sum = 0.0;
        for (const auto& exchanges : of_rank)
          sum += contribution(*exchanges[b], i);
        const auto mean = static_cast<float>(sum / size() + noise(i));
        for (const auto& exchanges : of_rank)
          contribution_of(*exchanges[b]).result().data<float>()[i] = mean;
      }
      for (const auto& exchanges : of_rank)
        use_in_pieces(*exchanges[b]);
      agree_beside(of_rank, b);
      tell_woken(of_rank, b);
    }
  }
  void agree_beside(const std::vector<std::span<const std::optional<Exchange>>>& of_rank,
                    std::size_t b) {
    for (std::size_t t = 0; t < of_rank[0][b]->beside.size(); ++t) {
      for (std::int64_t i = 0; i < of_rank[0][b]->beside[t].numel(); ++i) {
        double sum = 0.0;
        for (const auto& exchanges : of_rank)
          sum += static_cast<double>(exchanges[b]->beside[t].data<float>()[i]);
        for (const auto& exchanges : of_rank)
          exchanges[b]->beside[t].data<float>()[i] = static_cast<float>(sum / size());
      }
    }
  }
  void tell_woken(const std::vector<std::span<const std::optional<Exchange>>>& of_rank,
                  std::size_t b) {
    const FlatBucket& layout = (*this)[0].buckets[b];
    std::vector<std::uint8_t> woken(layout.params.size());
    for (const auto& exchanges : of_rank)
      for (std::size_t p = 0; p < woken.size(); ++p)
        if (wakes(*exchanges[b], layout.begins[p], layout.params[p]->value.numel())) woken[p] = 1;
    if (std::ranges::count(woken, 1) == 0) return;
    for (const auto& exchanges : of_rank)
      if (exchanges[b]->woken) exchanges[b]->woken(woken);
  }
  static bool wakes(const Exchange& e, std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = begin; e.live && i < begin + n; ++i)
      if (!is_live(e.live, i) &&
          std::abs(contribution_of(e).value.data<float>()[i]) > kLeastGradient)
        return true;
    return false;
  }
  static bool is_live(const Tensor& live, std::int64_t i) {
    return (static_cast<const std::uint8_t*>(live.raw())[i / 8] >> (i % 8) & 1) != 0;
  }
  static void use_in_pieces(const Exchange& e) {
    constexpr std::int64_t kPiece = 13;
    const Contribution c = contribution_of(e);
    const float* const result = c.result().data<float>();
    for (std::int64_t i = 0; e.use && i < c.value.numel(); i += kPiece)
      e.use(i, std::min(c.value.numel(), i + kPiece), result + i);
  }
  static double contribution(const Exchange& e, std::int64_t i) {
    const Contribution c = contribution_of(e);
    const double g = static_cast<double>(c.weight) * static_cast<double>(c.value.data<float>()[i]);
    if (!c.momentum) return g;
    const auto beta = static_cast<double>(c.beta);
    return beta * static_cast<double>(c.momentum.data<float>()[i]) + (1.0 - beta) * g;
  }

  Context& cx_;
  Make make_;
  Gradient gradient_;
  std::vector<std::unique_ptr<Replica>> replicas_;
};

// Noisy gradients around a slope, different on every rank; element 3 of every parameter never gets
// one.
inline double noisy_gradient(int rank, int step, std::size_t p, std::int64_t i) {
  if (i == 3) return 0.0;
  const std::uint64_t at =
      static_cast<std::uint64_t>(((step * 7 + rank) * 3) + static_cast<int>(p));
  return to_uniform(random_word(99, at * 1000 + static_cast<std::uint64_t>(i))) - 0.4;
}

}  // namespace gradwire::test
