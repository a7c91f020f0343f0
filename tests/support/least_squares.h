// The heterogeneous least-squares family on which EControl is compared with its relatives (Gao,
// Islamov & Stich, "EControl", ICLR 2024, section 5; the generator is that of Islamov et al.,
// "MoTEF", ICLR 2025): rank i of n holds f_i(x) = |A_i x - b_i|^2 / 2 with A_i = i / sqrt(n) I and
// b_i drawn from N(0, (zeta / i)^2 I); gradients carry noise of N(0, sigma^2 / d I). With zeta > 0
// the ranks' gradients do not vanish if their mean does.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "comm/local/local_comm.h"
#include "comm/reducer/reducer.h"
#include "core/flat_bucket.h"
#include "core/rng.h"

namespace gradwire::test {

struct LeastSquares {
  int ranks = 16;
  std::int64_t dimension = 200;
  double zeta = 0.0;
  double sigma = 0.0;

  double normal(std::uint64_t seed, std::uint64_t i) const {
    const double u = 1.0 - to_uniform(random_word(seed, 2 * i));
    const double v = to_uniform(random_word(seed, 2 * i + 1));
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  double curvature(int rank) const { return static_cast<double>(rank + 1) * (rank + 1) / ranks; }
  double smoothness() const {  // of the mean of all f_i
    double sum = 0.0;
    for (int r = 0; r < ranks; ++r)
      sum += curvature(r) / ranks;
    return sum;
  }
  // A_i b_i
  std::vector<double> pull(int rank) const {
    std::vector<double> all;
    for (std::int64_t j = 0; j < dimension; ++j) {
      const double b =
          zeta / (rank + 1) *
          normal(derive_seed(1, static_cast<std::uint64_t>(rank)), static_cast<std::uint64_t>(j));
      all.push_back((rank + 1) / std::sqrt(static_cast<double>(ranks)) * b);
    }
    return all;
  }
  std::vector<double> optimum() const {
    std::vector<double> x(static_cast<std::size_t>(dimension));
    for (int r = 0; r < ranks; ++r) {
      const std::vector<double> p = pull(r);
      for (std::size_t j = 0; j < x.size(); ++j)
        x[j] += p[j] / ranks / smoothness();
    }
    return x;
  }
};

using MakeReducer =
    std::function<std::unique_ptr<Reducer>(Context&, Communicator&, std::span<const FlatBucket>)>;

// x - x* on rank 0 after every step of SGD from |x - x*| = 10 with the step size gamma; f32
// gradients through the reducer, x in f64. Ends early where it diverges, before f32 overflows.
inline std::vector<std::vector<double>> descend(const LeastSquares& problem, double gamma,
                                                int steps, const MakeReducer& make) {
  std::vector<std::vector<double>> path;
  run_ranks(problem.ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const auto d = static_cast<std::size_t>(problem.dimension);
    Parameter p;
    p.name = "x";
    p.value = Tensor::zeros(cx, {problem.dimension}, DType::kF32);
    const std::vector<FlatBucket> layout{
        {Tensor::zeros(cx, {problem.dimension}, DType::kF32), {&p}, {0}}};
    const auto reducer = make(cx, comm, layout);
    const std::vector<double> pull = problem.pull(comm.rank()), best = problem.optimum();
    std::vector<double> x(best);
    for (double& value : x)
      value += 10.0 / std::sqrt(static_cast<double>(d));
    const auto gradient = layout[0].flat.host<float>();
    for (int t = 0; t < steps; ++t) {
      const std::uint64_t seed = derive_seed(derive_seed(2, static_cast<std::uint64_t>(t)),
                                             static_cast<std::uint64_t>(comm.rank()));
      for (std::size_t j = 0; j < d; ++j) {
        const double noise =
            problem.sigma == 0.0
                ? 0.0
                : problem.sigma / std::sqrt(static_cast<double>(d)) * problem.normal(seed, j);
        gradient[j] = static_cast<float>(problem.curvature(comm.rank()) * x[j] - pull[j] + noise);
      }
      reducer->submit(cx, 0, {Gradient{layout[0].flat}});
      reducer->finish(cx);
      double squares = 0.0;  // the same on all ranks
      for (std::size_t j = 0; j < d; ++j) {
        x[j] -= gamma * static_cast<double>(gradient[j]);
        squares += x[j] * x[j];
      }
      if (comm.rank() == 0) {
        path.emplace_back(d);
        for (std::size_t j = 0; j < d; ++j)
          path.back()[j] = x[j] - best[j];
      }
      if (squares > 1e24) break;
    }
  });
  return path;
}

// The mean of |x - x*|^2 over the last fifth; infinite if it has diverged.
inline double tail_error(const std::vector<std::vector<double>>& path) {
  const std::size_t first = path.size() * 4 / 5;
  double sum = 0.0;
  for (std::size_t t = first; t < path.size(); ++t)
    for (const double x : path[t])
      sum += x * x;
  const double mean = sum / static_cast<double>(path.size() - first);
  return std::isfinite(mean) && mean < 1e12 ? mean : INFINITY;
}

}  // namespace gradwire::test
