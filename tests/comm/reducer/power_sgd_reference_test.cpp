// PowerSGD against the published algorithm, written down here once more on plain vectors of
// doubles, all ranks in one place.
#include "comm/reducer/power_sgd.h"
#include "tests/comm/reducer/reducer_world.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::Buckets;
using Values = std::vector<float>;
using Doubles = std::vector<double>;

constexpr std::int64_t kRank = 3;
// A matrix, one that does not pay, a vector, three dimensions; a second bucket; one without a
// matrix.
const std::vector<std::vector<Shape>> kShapes = {
    {{40, 24}, {5, 6}, {33}, {12, 5, 7}}, {{17}, {150, 130}}, {{50}}};

// The columns of [m, r]: textbook Gram and Schmidt.
void orthonormalize(Doubles& p, std::size_t m) {
  for (std::size_t k = 0; k < kRank; ++k) {
    for (std::size_t j = 0; j < k; ++j) {
      double along = 0.0;
      for (std::size_t i = 0; i < m; ++i)
        along += p[i * kRank + k] * p[i * kRank + j];
      for (std::size_t i = 0; i < m; ++i)
        p[i * kRank + k] -= along * p[i * kRank + j];
    }
    double squares = 0.0;
    for (std::size_t i = 0; i < m; ++i)
      squares += p[i * kRank + k] * p[i * kRank + k];
    for (std::size_t i = 0; i < m; ++i)
      p[i * kRank + k] /= std::sqrt(squares);
  }
}

// One matrix on all ranks. Algorithm 1 is answer(), algorithm 2 what is around it.
class Reference {
 public:
  Reference(std::size_t m, std::size_t n, int ranks, const Values& q)
      : m_(m), n_(n), errors_(static_cast<std::size_t>(ranks), Doubles(m * n)), q_(n * kRank) {
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t k = 0; k < kRank; ++k)
        q_[j * kRank + k] = static_cast<double>(q[k * n + j]);
  }

  Doubles step(const std::vector<Doubles>& gradients) {
    std::vector<Doubles> delta = errors_;
    for (std::size_t r = 0; r < delta.size(); ++r)
      for (std::size_t i = 0; i < delta[r].size(); ++i)
        delta[r][i] += gradients[r][i];
    const auto share = 1.0 / static_cast<double>(delta.size());
    Doubles p(m_ * kRank);
    for (const Doubles& d : delta)
      for (std::size_t i = 0; i < m_; ++i)
        for (std::size_t j = 0; j < n_; ++j)
          for (std::size_t k = 0; k < kRank; ++k)
            p[i * kRank + k] += share * d[i * n_ + j] * q_[j * kRank + k];
    orthonormalize(p, m_);
    q_.assign(n_ * kRank, 0.0);
    for (std::size_t r = 0; r < delta.size(); ++r) {
      Doubles own(n_ * kRank);
      for (std::size_t i = 0; i < m_; ++i)
        for (std::size_t j = 0; j < n_; ++j)
          for (std::size_t k = 0; k < kRank; ++k)
            own[j * kRank + k] += delta[r][i * n_ + j] * p[i * kRank + k];
      for (std::size_t i = 0; i < own.size(); ++i)
        q_[i] += share * own[i];
      const Doubles sent = product(p, own);
      for (std::size_t i = 0; i < sent.size(); ++i)
        errors_[r][i] = delta[r][i] - sent[i];
    }
    return product(p, q_);
  }
  const Doubles& error(int rank) const { return errors_[static_cast<std::size_t>(rank)]; }

 private:
  Doubles product(const Doubles& p, const Doubles& q) const {
    Doubles out(m_ * n_);
    for (std::size_t i = 0; i < m_; ++i)
      for (std::size_t j = 0; j < n_; ++j)
        for (std::size_t k = 0; k < kRank; ++k)
          out[i * n_ + j] += p[i * kRank + k] * q[j * kRank + k];
    return out;
  }

  std::size_t m_, n_;
  std::vector<Doubles> errors_;
  Doubles q_;
};

void expect_near(const float* got, const Doubles& want, const std::string& what) {
  double scale = 0.0;
  for (const double w : want)
    scale = std::max(scale, std::abs(w));
  ASSERT_GT(scale, 0.01) << what;
  const double rel = test::tolerance(DType::kF32, static_cast<std::int64_t>(want.size()));
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_TRUE(test::agrees(static_cast<double>(got[i]), want[i], rel, scale))
        << what << " element " << i << ": " << got[i] << " for " << want[i];
}

struct Case {
  int ranks;
  float weight;
  bool momentum;
};

// A reducer and what it is given on one rank.
struct Side {
  Side(Context& cx, const Case& c) : given(c), buckets(cx, kShapes) {
    for (const FlatBucket& b : buckets.layout)
      momenta.push_back(Tensor::zeros(cx, {b.numel()}, DType::kF32));
  }
  void step(Context& cx, int rank, std::int64_t s) {
    buckets.fill_values(rank, s);
    for (std::size_t b = 0; b < momenta.size(); ++b) {
      Exchange e{Gradient{buckets.layout[b].flat, given.weight}};
      if (given.momentum) e.what = Momentum{buckets.layout[b].flat, given.weight, momenta[b], 0.9F};
      reducer->submit(cx, b, e);
    }
    reducer->finish(cx);
  }
  // What rank r brings to a step of parameter i of a bucket, in double.
  Doubles contribution(int rank, std::int64_t s, std::size_t bucket, std::size_t i) {
    buckets.fill_values(rank, s);
    const FlatBucket& b = buckets.layout[bucket];
    Doubles out;
    for (std::int64_t j = 0; j < b.params[i]->value.numel(); ++j) {
      const auto at = static_cast<std::size_t>(b.begins[i] + j);
      const double x = static_cast<double>(given.weight) * b.flat.host<float>()[at];
      const double m = momenta[bucket].host<float>()[at];
      out.push_back(given.momentum ? 0.9 * m + 0.1 * x : x);
    }
    return out;
  }
  const float* answer(std::size_t bucket, std::size_t i) const {
    const Tensor& t = given.momentum ? momenta[bucket] : buckets.layout[bucket].flat;
    return t.data<float>() + buckets.layout[bucket].begins[i];
  }

  Case given;
  Buckets buckets;
  std::vector<Tensor> momenta;
  std::unique_ptr<Reducer> reducer;
};

test::SavedState state_of(Reducer& reducer) {
  test::SavedState state;
  test::StateSaver saver(state);
  reducer.visit_state(saver);
  return state;
}

class PowerSgdReference : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Ranks, PowerSgdReference,
                         testing::Values(Case{1, 1.0F, false}, Case{2, 1.0F, false},
                                         Case{3, 0.7F, false}, Case{3, 0.7F, true}),
                         [](const auto& p) {
                           return std::to_string(p.param.ranks) +
                                  (p.param.momentum ? "_momentum" : "");
                         });

// Every rank computes the reference of all ranks beside its own part. What does not travel as a
// matrix is what the dense reducer says, bit for bit.
TEST_P(PowerSgdReference, SeveralSteps) {
  const Case c = GetParam();
  run_ranks(c.ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Side mine(cx, c), plain(cx, c);
    mine.reducer =
        make_power_sgd_reducer(cx, comm, mine.buckets.layout, {.rank = kRank, .seed = 7});
    plain.reducer = make_dense_reducer(comm);
    const auto start = state_of(*mine.reducer).replicated;
    std::map<std::string, Reference> references;
    for (const auto& [name, m, n] : {std::tuple{"a", 40U, 24U}, {"d", 12U, 35U}, {"f", 150U, 130U}})
      references.emplace(name,
                         Reference(m, n, c.ranks, start.at(std::string("powersgd/q/") + name)));
    EXPECT_EQ(start.size(), references.size());
    for (std::int64_t s = 0; s < 6; ++s) {
      std::map<std::string, Doubles> expected;
      for (std::size_t b = 0; b < mine.momenta.size(); ++b)
        for (std::size_t i = 0; i < mine.buckets.layout[b].params.size(); ++i) {
          const auto found = references.find(mine.buckets.layout[b].params[i]->name);
          if (found == references.end()) continue;
          std::vector<Doubles> brought;
          for (int r = 0; r < c.ranks; ++r)
            brought.push_back(mine.contribution(r, s, b, i));
          expected[found->first] = found->second.step(brought);
        }
      mine.step(cx, comm.rank(), s);
      plain.step(cx, comm.rank(), s);
      for (std::size_t b = 0; b < mine.momenta.size(); ++b) {
        if (c.momentum) {
          EXPECT_EQ(mine.buckets.values(b), plain.buckets.values(b));  // left as it was
        }
        for (std::size_t i = 0; i < mine.buckets.layout[b].params.size(); ++i) {
          const Parameter& p = *mine.buckets.layout[b].params[i];
          const float* const got = mine.answer(b, i);
          if (expected.count(p.name) > 0) {
            expect_near(got, expected.at(p.name), p.name);
          } else {
            EXPECT_TRUE(std::equal(got, got + p.value.numel(), plain.answer(b, i))) << p.name;
          }
        }
      }
    }
    const test::SavedState end = state_of(*mine.reducer);
    for (const auto& [name, reference] : references)
      expect_near(end.means.at("powersgd/e/" + name).data(), reference.error(comm.rank()),
                  name + " residual");
  });
}

}  // namespace
}  // namespace gradwire
