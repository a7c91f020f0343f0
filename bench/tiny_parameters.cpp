// What it costs that a model's trained parameters are thousands of tiny tensors (adapters) instead
// of one of the same size: processor time of a step's exchange and update, memory, and checkpoints.
// Ranks are threads of one process; grads_ms, norm_ms and apply_ms are processor time of one of
// them, so that they do not depend on how many processors the ranks share.
// Usage: tiny_parameters [parameters [elements of each [ranks]]]
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "core/parallel_for.h"
#include "models/module.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "train/checkpoint/checkpoint.h"
#include "train/coordinator.h"
#include "train/update.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kSteps = 7;

struct Setup {
  int parameters = 5000;
  std::int64_t elements = 64;
  int ranks = 64;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> v) {
  std::ranges::nth_element(v, v.begin() + std::ssize(v) / 2);
  return v[v.size() / 2];
}

class Rank {
 public:
  Rank(Context& cx, Communicator& comm, const std::string& kind, int parameters,
       std::int64_t elements)
      : cx_(cx), comm_(comm) {
    for (int i = 0; i < parameters; ++i) {
      params_.push_back(std::make_unique<Parameter>());
      init_constant(cx, *params_.back(), fmt::format("layers.{}.adapter.weight", i), {elements},
                    0.5);
      list_.push_back(params_.back().get());
    }
    ranks_.emplace(cx, comm, make_dense_reducer(comm), list_, DataParallelOptions{});
    const auto layout = ranks_->buckets().all();
    if (kind != "dense") {
      CompressionConfig config;
      config.codec.name = "sign";
      ranks_->compress_with(make_compressed_reducer(cx, comm, layout, config));
    }
    if (kind == "onebit_adam") {
      OnebitAdamConfig config;
      config.freeze.freeze_step = 2;
      rule_ = make_onebit_adam(cx, layout, config);
    } else {
      rule_ = make_adamw(cx, list_, {});
    }
    update_.emplace(UpdateOptions{.dense_steps = kind == "ef_sign" ? 1 : -1}, *rule_, *ranks_);
  }

  // Processor time of all ranks, in seconds: until gradients are there, for the norm, to apply.
  std::array<double, 3> step(int number) {
    std::array<double, 3> seconds{};
    const auto timed = [&](std::size_t part, const auto& work) {
      comm_.barrier();
      const std::clock_t start = std::clock();
      comm_.barrier();
      work();
      comm_.barrier();
      seconds[part] = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    };
    timed(0, [&] {
      update_->begin(number, false);
      for (Parameter* p : list_)
        clear_grad(*p);
      for (Parameter* p : list_) {
        fill(cx_, p->grad, 1e-3 * (1 + comm_.rank()));
        p->grad_empty = false;
      }
    });
    timed(1, [&] {
      update_->finish_gradients(cx_);
      update_->norm(cx_);
    });
    timed(2, [&] { update_->apply(cx_, 1e-4); });
    return seconds;
  }
  CheckpointState state() { return {list_, {rule_.get(), &*ranks_}}; }
  std::int64_t bytes() const { return cx_.alloc->stats().live_bytes; }

 private:
  Context& cx_;
  Communicator& comm_;
  std::vector<std::unique_ptr<Parameter>> params_;
  std::vector<Parameter*> list_;
  std::optional<DataParallel> ranks_;
  std::unique_ptr<Optimizer> rule_;
  std::optional<Update> update_;
};

void measure(const Setup& setup, const std::string& kind, bool flat) {
  const auto dir =
      std::filesystem::temp_directory_path() / fmt::format("gradwire-tiny-{}", ::getpid());
  const int parameters = flat ? 1 : setup.parameters;
  const std::int64_t elements = flat ? setup.elements * setup.parameters : setup.elements;
  run_ranks(setup.ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Rank rank(cx, comm, kind, parameters, elements);
    std::array<std::vector<double>, 3> times;
    for (int s = 1; s <= kSteps + 3; ++s) {
      const std::array<double, 3> t = rank.step(s);
      for (std::size_t i = 0; i < t.size() && s > 3; ++i)
        times[i].push_back(1e3 * t[i] / setup.ranks);
    }
    if (comm.rank() == 0) {
      fmt::print("{:12} {:5} {:9.2f} {:9.2f} {:9.2f} {:9.1f} ", kind, flat ? "flat" : "tiny",
                 median(times[0]), median(times[1]), median(times[2]),
                 static_cast<double>(rank.bytes()) / 1e6);
      std::fflush(stdout);
    }
    const auto coordinator = make_coordinator(cx, comm);
    const Clock::time_point start = Clock::now();
    const SaveResult saved = save_checkpoint(cx, {.dir = dir.string(), .run = {"m", "r"}}, 1,
                                             rank.state(), *coordinator);
    const double save_s = seconds_since(start);
    const Clock::time_point load = Clock::now();
    load_checkpoint(cx, {saved.path}, {.model = "m"}, rank.state(), *coordinator);
    if (comm.rank() != 0) return;
    fmt::print(
        "{:9.2f} {:9.2f} {:9.1f} {:9.1f}\n", save_s, seconds_since(load),
        static_cast<double>(saved.bytes) / 1e6,
        static_cast<double>(std::filesystem::file_size(saved.path + "/manifest.json")) / 1e6);
  });
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  gradwire::set_thread_count(1);
  gradwire::Setup setup;
  if (argc > 1) setup.parameters = std::atoi(argv[1]);
  if (argc > 2) setup.elements = std::atoi(argv[2]);
  if (argc > 3) setup.ranks = std::atoi(argv[3]);
  fmt::print("{} parameters of {} elements, {} ranks (threads)\n", setup.parameters, setup.elements,
             setup.ranks);
  fmt::print("{:12} {:5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "exchange", "",
             "grads_ms", "norm_ms", "apply_ms", "rank_MB", "save_s", "load_s", "ckpt_MB",
             "manif_MB");
  for (const char* kind : {"dense", "ef_sign", "onebit_adam"})
    for (const bool flat : {true, false})
      gradwire::measure(setup, kind, flat);
}
