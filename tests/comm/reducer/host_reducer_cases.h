// What a reducer on host copies of a device's buckets is tested with, whatever the device is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/reducer/host_reducer.h"
#include "comm/reducer/power_sgd.h"
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire::test {

struct HostReducerCase {
  std::string method;
  ExchangeKind kind;
  bool masked;  // every second coordinate takes no part
};

inline std::vector<HostReducerCase> host_reducer_cases() {
  std::vector<HostReducerCase> cases;
  for (const char* method : {"plain", "ef", "ef21", "ef21_sgdm", "econtrol", "powersgd"})
    for (const ExchangeKind kind :
         {ExchangeKind::kGradient, ExchangeKind::kMomentum, ExchangeKind::kDrift})
      for (const bool masked : {false, true})
        cases.push_back({method, kind, masked});
  return cases;
}

inline std::string name_of(const HostReducerCase& c) {
  return c.method + std::string(gradwire::name_of(c.kind)).replace(1, 1, "_") +
         (c.masked ? "_masked" : "");
}

inline std::unique_ptr<Reducer> make_on_host(Context& cx, Communicator& comm,
                                             std::span<const FlatBucket> layout,
                                             const HostReducerCase& c) {
  return make_host_reducer(
      cx, layout,
      [&](Context& host, std::span<const FlatBucket> buckets) -> std::unique_ptr<Reducer> {
        if (c.method == "powersgd") {
          return make_power_sgd_reducer(host, comm, buckets, {.rank = 2});
        }
        return make_compressed_reducer(host, comm, buckets, {.method = feedback_named(c.method)});
      });
}

// What the ranks agree on in four steps, and what the reducer keeps: all as floats, in order.
inline std::vector<float> agreed_in_steps(Context& cx, Communicator& comm,
                                          const HostReducerCase& c) {
  Context host = cx.on_host();
  Buckets values(host, {{{12, 10}, {17}}, {{50}}}), buckets(cx, {{{12, 10}, {17}}, {{50}}});
  const std::unique_ptr<Reducer> reducer = make_on_host(cx, comm, buckets.layout, c);
  std::vector<Tensor> momenta, masks;
  for (const FlatBucket& b : buckets.layout) {
    momenta.push_back(Tensor::zeros(cx, {b.numel()}, DType::kF32));
    masks.push_back(Tensor::zeros(cx, {(b.numel() + 7) / 8}, DType::kU8));
    fill(cx, masks.back(), 0x55);
  }
  std::vector<float> agreed;
  for (std::int64_t step = 1; step <= 4; ++step) {
    values.fill_values(comm.rank(), step);
    for (std::size_t b = 0; b < momenta.size(); ++b) {
      const Tensor& flat = buckets.layout[b].flat;
      copy(cx, flat, values.layout[b].flat);
      Exchange e{.what = Gradient{flat, 0.5F}, .reset_residuals = step == 3};
      if (c.kind == ExchangeKind::kMomentum) {
        e.what = Momentum{.gradient = flat, .weight = 0.5F, .momentum = momenta[b], .beta = 0.75F};
      } else if (c.kind == ExchangeKind::kDrift) {
        e.what = Drift{flat};
      }
      if (c.masked) e.live = masks[b];
      reducer->submit(cx, b, e);
    }
    reducer->finish(cx);
    for (std::size_t b = 0; b < momenta.size(); ++b) {
      const bool is_momentum = c.kind == ExchangeKind::kMomentum;
      const auto now = (is_momentum ? momenta[b] : buckets.layout[b].flat).to_host<float>(cx);
      agreed.insert(agreed.end(), now.begin(), now.end());
    }
  }
  SavedState state;
  StateSaver saver(state);
  reducer->visit_state(saver);
  for (const auto& [name, x] : state.means)
    agreed.insert(agreed.end(), x.begin(), x.end());
  return agreed;
}

}  // namespace gradwire::test
