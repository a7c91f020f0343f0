// A run small enough to be saved a thousand times: parameters, replicated and per-rank state of
// every kind, all of it decided by a seed. And ranks as threads for what needs several.
#pragma once

#include <barrier>
#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/state.h"

namespace gradwire::test {

class SmallRun final : public Stateful {
 public:
  explicit SmallRun(int seed, int rank = 0) {
    wte.name = "wte.weight";
    bias.name = "blocks.0.bias";
    head.name = "head.weight";
    wte.value = Tensor::zeros(cx, {33, 8}, DType::kF32);
    bias.value = Tensor::zeros(cx, {}, DType::kBf16);
    head.value = Tensor::zeros(cx, {129, 128}, DType::kF32);
    order = Tensor::zeros(cx, {0, 4}, DType::kI64);
    residual = Tensor::zeros(cx, {5}, DType::kF64);
    fill(cx, wte.value, 0.1 * seed);
    fill(cx, bias.value, 3.0 * seed);
    fill(cx, head.value, -0.2 * seed);
    fill(cx, residual, seed + 100.0 * rank);
    position = 1000 * seed;
    best = 0.25 * seed;
    phase = std::string(static_cast<std::size_t>(seed), 'x');
    clock = rank + 10 * seed;
  }

  void visit_state(StateVisitor& v) override {
    v.tensor("sampler/order", order);
    v.number("sampler/position", position);
    v.number("best_loss", best);
    v.text("phase", phase);
    if (!with_residual) return;
    v.tensor("reducer/residual", residual, Share::kPerRank);
    v.number("reducer/clock", clock, Share::kPerRank);
  }

  CheckpointState state() { return {{&wte, &bias, &head}, {this}}; }

  // Every byte of the state, by name.
  std::map<std::string, std::vector<std::byte>> bytes() {
    std::map<std::string, std::vector<std::byte>> all;
    for (const StatePiece& piece : pieces_of(state())) {
      const HostBytes host(cx, piece);
      std::vector<std::byte>& kept = all[piece.name];
      kept.assign(host.span().begin(), host.span().end());
    }
    return all;
  }

  Runtime runtime;
  Context& cx = runtime.context();
  Parameter wte, bias;  // small: packed
  Parameter head;       // has a dataset of its own
  Tensor order, residual;
  std::int64_t position = 0, clock = 0;
  double best = 0.0;
  std::string phase;
  bool with_residual = true;
};

class ThreadRanks {
 public:
  explicit ThreadRanks(int n) : texts_(static_cast<std::size_t>(n)), barrier_(n) {}

  class Rank final : public Coordinator {
   public:
    Rank(ThreadRanks& all, int rank) : all_(all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.texts_.size()); }
    std::vector<std::string> all_gather(const std::string& mine) override {
      all_.texts_[static_cast<std::size_t>(rank_)] = mine;
      all_.barrier_.arrive_and_wait();
      const std::vector<std::string> copy = all_.texts_;
      all_.barrier_.arrive_and_wait();
      return copy;
    }
    std::vector<std::string> gather(const std::string& mine) override {
      std::vector<std::string> all = all_gather(mine);
      if (rank_ != 0) all.clear();
      return all;
    }

   private:
    ThreadRanks& all_;
    int rank_;
  };

  template <class F>
  static void run(int n, const F& f) {
    ThreadRanks all(n);
    std::vector<std::jthread> threads;
    for (int r = 0; r < n; ++r) {
      threads.emplace_back([&, r] {
        Rank rank(all, r);
        f(rank);
      });
    }
  }

 private:
  std::vector<std::string> texts_;
  std::barrier<> barrier_;
};

}  // namespace gradwire::test
