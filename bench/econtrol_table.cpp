// The comparison of error-feedback methods on heterogeneous least squares, through the reducers
// that train models, on ranks as threads: for each method and setting the best tail error |x -
// x*|^2 over a grid of step sizes, and what the strength eta of EControl does. Gradients are f32,
// so that errors end at about 1e-11 times what the ranks' gradients differ by.
//   econtrol_table [STEPS]        (default 4000; about three minutes on two cores)
#include <cstdlib>

#include <fmt/format.h>

#include "comm/reducer/compressed_reducer.h"
#include "tests/support/least_squares.h"

namespace gradwire {
namespace {

struct Method {
  const char* name;
  bool dense;
  CompressionConfig config;
};

test::MakeReducer maker(const Method& m) {
  return [m](Context& cx, Communicator& comm, std::span<const FlatBucket> layout) {
    return m.dense ? make_dense_reducer(comm) : make_compressed_reducer(cx, comm, layout, m.config);
  };
}

CompressionConfig config_of(Feedback method, double ratio, double eta) {
  CompressionConfig config;
  config.method = method;
  config.codec = {.name = "topk", .ratio = ratio};
  if (eta > 0.0) config.eta = eta;
  config.sgdm_beta = 0.03;
  return config;
}

void print_methods(int steps) {
  const Method methods[] = {
      {"SGD (dense)", true, {}},
      {"C-SGD (plain)", false, config_of(Feedback::kPlain, 0.1, 0)},
      {"EC (ef)", false, config_of(Feedback::kEf, 0.1, 0)},
      {"EF21", false, config_of(Feedback::kEf21, 0.1, 0)},
      {"EF21-SGDM b=.03", false, config_of(Feedback::kEf21Sgdm, 0.1, 0)},
      {"EControl eta=.1", false, config_of(Feedback::kEcontrol, 0.1, 0.1)},
      {"EControl auto", false, config_of(Feedback::kEcontrol, 0.1, 0)},
  };
  fmt::print("16 ranks, 200 dimensions, top-20, {} steps; best over gamma L = 2^-1 .. 2^-9\n{:18}",
             steps, "");
  const std::pair<double, double> settings[] = {{0, 0}, {100, 0}, {0, 10}, {100, 10}};
  for (const auto& [zeta, sigma] : settings)
    fmt::print("  zeta {:3} sigma {:2}", zeta, sigma);
  for (const Method& m : methods) {
    fmt::print("\n{:18}", m.name);
    for (const auto& [zeta, sigma] : settings) {
      const test::LeastSquares problem{.zeta = zeta, .sigma = sigma};
      double best = INFINITY;
      for (int k = 1; k <= 9; k += 2) {
        const double gamma = std::ldexp(1.0, -k) / problem.smoothness();
        best = std::min(best, test::tail_error(descend(problem, gamma, steps, maker(m))));
      }
      fmt::print("  {:17.2e}", best);
      std::fflush(stdout);
    }
  }
  fmt::print("\n");
}

void print_etas(int steps) {
  const test::LeastSquares problem{.zeta = 100, .sigma = 10};
  const double gamma = std::ldexp(1.0, -7) / problem.smoothness();
  const double etas[] = {0.003, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0};
  fmt::print("\nEControl, zeta 100, sigma 10, gamma L = 2^-7; 'auto' is the codec's contraction\n");
  fmt::print("{:10} {:>9} {:>9}", "top-k", "EF21", "auto");
  for (const double eta : etas)
    fmt::print(" {:>9}", fmt::format("{:g}", eta));
  for (const double ratio : {0.01, 0.05, 0.1, 0.3}) {
    const auto error_of = [&](Feedback method, double eta) {
      const Method m{"", false, config_of(method, ratio, eta)};
      return test::tail_error(descend(problem, gamma, steps, maker(m)));
    };
    fmt::print("\n{:10} {:9.2e} {:9.2e}", fmt::format("{:g} %", 100 * ratio),
               error_of(Feedback::kEf21, 0), error_of(Feedback::kEcontrol, 0));
    for (const double eta : etas) {
      fmt::print(" {:9.2e}", error_of(Feedback::kEcontrol, eta));
      std::fflush(stdout);
    }
  }
  fmt::print("\n");
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 4000;
  gradwire::print_methods(steps);
  gradwire::print_etas(steps * 3 / 4);
}
