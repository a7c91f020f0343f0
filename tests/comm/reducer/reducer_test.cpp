// Properties of compressed reducers that hold whatever the codec: replicas, bytes, dead
// coordinates, restarts.
#include <atomic>

#include "core/codec_names.h"
#include "core/error.h"
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire {
namespace {

using test::Buckets;
using Values = std::vector<float>;

CompressionConfig config_of(Feedback method, std::string_view codec) {
  CompressionConfig config;
  config.method = method;
  config.codec.name = codec;
  config.codec.ratio = 0.05;
  if (codec == "qsgd") config.eta = 0.05;  // it has none of its own
  return config;
}

void one_step(Context& cx, Reducer& reducer, Buckets& buckets) {
  for (std::size_t b = 0; b < buckets.layout.size(); ++b)
    reducer.submit(cx, b, {Gradient{buckets.layout[b].flat}});
  reducer.finish(cx);
}

// Momentum and value, with a weight: what nothing is lost of is what the dense reducer says.
TEST(Identity, IsTheDenseReducerBitForBit) {
  for (const int ranks : {1, 2, 3, 4, 7}) {
    run_ranks(ranks, [](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      for (const Feedback method : {Feedback::kPlain, Feedback::kEf}) {
        Buckets plain(cx, 4097), compressed(cx, 4097);
        const auto dense = make_dense_reducer(comm);
        const auto reducer =
            make_compressed_reducer(cx, comm, compressed.layout, config_of(method, "identity"));
        Tensor momentum[2];
        for (Tensor& m : momentum)
          m = Tensor::zeros(cx, {plain.layout[0].numel()}, DType::kF32);
        for (std::int64_t s = 0; s < 5; ++s) {
          plain.fill_values(comm.rank(), s);
          compressed.fill_values(comm.rank(), s);
          dense->submit(cx, 0, {Momentum{plain.layout[0].flat, 0.7F, momentum[0], 0.9F}});
          dense->submit(cx, 1, {Gradient{plain.layout[1].flat}});
          reducer->submit(cx, 0, {Momentum{compressed.layout[0].flat, 0.7F, momentum[1], 0.9F}});
          reducer->submit(cx, 1, {Gradient{compressed.layout[1].flat}});
          dense->finish(cx);
          reducer->finish(cx);
          ASSERT_EQ(momentum[0].to_host<float>(cx), momentum[1].to_host<float>(cx));
          ASSERT_EQ(plain.values(1), compressed.values(1));
        }
      }
    });
  }
}

TEST(Scatter, IsTheDenseReducerInTheOwnSliceAndLeavesTheRest) {
  for (const int ranks : {1, 2, 3, 4}) {
    run_ranks(ranks, [](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      const std::int64_t part = 1001, n = part * comm.size();
      const auto mine = [&](std::int64_t i) {
        return std::sin(static_cast<float>(i * (comm.rank() + 1)));
      };
      const Tensor whole = Tensor::empty(cx, {n}, DType::kF32);
      for (std::int64_t i = 0; i < n; ++i)
        whole.host<float>()[static_cast<std::size_t>(i)] = mine(i);
      const Tensor scattered = Tensor::empty(cx, {n}, DType::kF32);
      copy(cx, scattered, whole);
      const auto dense = make_dense_reducer(comm), scatter = make_scatter_reducer(comm);
      constexpr float kWeight = 2.0F;
      dense->submit(cx, 0, {Gradient{whole, kWeight}});
      dense->finish(cx);
      scatter->submit(cx, 0, {Gradient{scattered, kWeight}});
      scatter->finish(cx);
      const Values want = whole.to_host<float>(cx), got = scattered.to_host<float>(cx);
      for (std::int64_t i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(i);
        ASSERT_EQ(got[at], i / part == comm.rank() ? want[at] : kWeight * mine(i)) << i;
      }
      EXPECT_THROW(scatter->submit(cx, 0, {Momentum{scattered, 1.0F, whole}}), Error);
    });
  }
}

class EveryCodec : public testing::TestWithParam<std::tuple<Feedback, std::string_view>> {};
INSTANTIATE_TEST_SUITE_P(Codecs, EveryCodec,
                         testing::Combine(testing::Values(Feedback::kPlain, Feedback::kEf,
                                                          Feedback::kEf21, Feedback::kEf21Sgdm,
                                                          Feedback::kEcontrol),
                                          testing::ValuesIn(kCodecNames)),
                         [](const auto& p) {
                           return std::string(name_of(std::get<0>(p.param))) + "_" +
                                  std::string(std::get<1>(p.param));
                         });

TEST_P(EveryCodec, ReplicasStayEqualBitForBit) {
  const auto& [method, codec] = GetParam();
  for (const int ranks : {2, 3, 7}) {
    std::vector<std::vector<Values>> seen(static_cast<std::size_t>(ranks));
    run_ranks(ranks, [&, method = method, codec = codec](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, 300);
      const auto reducer = make_compressed_reducer(cx, comm, mine.layout, config_of(method, codec));
      for (std::int64_t s = 0; s < 20; ++s) {
        mine.fill_values(comm.rank(), s, s % 7 == 3 ? 100.0 : 1.0);
        one_step(cx, *reducer, mine);
        seen[static_cast<std::size_t>(comm.rank())].push_back(mine.values(0));
        seen[static_cast<std::size_t>(comm.rank())].push_back(mine.values(1));
      }
    });
    for (const auto& rank : seen)
      ASSERT_EQ(rank, seen[0]);
  }
}

// 2k steps are k steps, state saved, a new reducer, state loaded, k more.
TEST_P(EveryCodec, ARestartChangesNoBit) {
  const auto& [method, codec] = GetParam();
  constexpr std::int64_t kHalf = 9;
  for (const int ranks : {1, 3}) {
    std::vector<test::SavedState> saved(static_cast<std::size_t>(ranks));
    std::vector<Values> whole(saved.size());
    const auto run = [&, method = method, codec = codec](Communicator& comm, std::int64_t first,
                                                         std::int64_t last) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, 300);
      const auto rank = static_cast<std::size_t>(comm.rank());
      const auto reducer = make_compressed_reducer(cx, comm, mine.layout, config_of(method, codec));
      if (first > 0) {
        test::StateLoader loader(saved, comm.rank(), comm.size());
        reducer->visit_state(loader);
      }
      for (std::int64_t s = first; s < last; ++s) {
        mine.fill_values(comm.rank(), s);
        one_step(cx, *reducer, mine);
        if (s + 1 == kHalf) {
          test::StateSaver saver(saved[rank]);
          reducer->visit_state(saver);
        }
      }
      return mine.values(0);
    };
    run_ranks(ranks, [&](Communicator& comm) {
      whole[static_cast<std::size_t>(comm.rank())] = run(comm, 0, 2 * kHalf);
    });
    run_ranks(ranks, [&](Communicator& comm) {
      EXPECT_EQ(run(comm, kHalf, 2 * kHalf), whole[static_cast<std::size_t>(comm.rank())]);
    });
  }
}

// mean of e + owners' residuals, element by element: what error feedback still owes.
std::vector<double> owed(const std::vector<test::SavedState>& all, const std::string& prefix) {
  std::vector<double> sum;
  for (const test::SavedState& s : all) {
    const Values& e = s.means.at(prefix + "/e/a");
    const test::SavedState::Slice& server = s.slices.at(prefix + "/server/a");
    sum.resize(e.size());
    for (std::size_t i = 0; i < e.size(); ++i)
      sum[i] += static_cast<double>(e[i]) / static_cast<double>(all.size());
    for (std::size_t i = 0; i < server.elements.size(); ++i)
      sum[static_cast<std::size_t>(server.begin) + i] += static_cast<double>(server.elements[i]);
  }
  return sum;
}

TEST(AnotherNumberOfRanks, KeepsWhatFeedbackOwes) {
  for (const Feedback method : {Feedback::kEf, Feedback::kEcontrol}) {
    for (const char* codec : {"sign", "topk"}) {
      std::vector<test::SavedState> before(4);
      run_ranks(4, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets mine(cx, 300);
        const auto reducer =
            make_compressed_reducer(cx, comm, mine.layout, config_of(method, codec));
        for (std::int64_t s = 0; s < 12; ++s) {
          mine.fill_values(comm.rank(), s);
          one_step(cx, *reducer, mine);
        }
        test::StateSaver saver(before[static_cast<std::size_t>(comm.rank())]);
        reducer->visit_state(saver);
      });
      const std::vector<double> expected = owed(before, name_of(method));
      double norm = 0.0;
      for (const double x : expected)
        norm += x * x;
      EXPECT_GT(norm, 0.1);
      for (const int ranks : {1, 2, 3, 7}) {
        std::vector<test::SavedState> after(static_cast<std::size_t>(ranks));
        run_ranks(ranks, [&](Communicator& comm) {
          Runtime runtime;
          Context& cx = runtime.context();
          Buckets mine(cx, 300);
          const auto reducer =
              make_compressed_reducer(cx, comm, mine.layout, config_of(method, codec));
          test::StateLoader loader(before, comm.rank(), comm.size());
          reducer->visit_state(loader);
          test::StateSaver saver(after[static_cast<std::size_t>(comm.rank())]);
          reducer->visit_state(saver);
        });
        const std::vector<double> found = owed(after, name_of(method));
        for (std::size_t i = 0; i < expected.size(); ++i)
          EXPECT_NEAR(found[i], expected[i], 1e-6);
      }
    }
  }
}

// compression.md, property 1: the ledger of one compressed step of one bucket of a million.
TEST(WireBytes, AreThoseOfOneBitAParameter) {
  constexpr std::int64_t kParameters = 1'000'000;
  for (const int ranks : {2, 4}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Parameter p;
      p.name = "p";
      p.value = Tensor::zeros(cx, {kParameters}, DType::kF32);
      const std::vector<FlatBucket> layout{
          {Tensor::zeros(cx, {kParameters}, DType::kF32), {&p}, {0}}};
      const auto reducer =
          make_compressed_reducer(cx, comm, layout, config_of(Feedback::kEf, "sign"));
      WireCount before;
      for (int step = 0; step < 2; ++step) {
        fill(cx, layout[0].flat, 1.0 + comm.rank());
        comm.barrier();
        before = comm.ledger().total(Traffic::kGradient);
        reducer->submit(cx, 0, {Gradient{layout[0].flat}});
        reducer->finish(cx);
      }
      const WireCount sent = comm.ledger().total(Traffic::kGradient) - before;
      const double share = 2.0 * (ranks - 1) / ranks;
      EXPECT_LE(static_cast<double>(sent.sent_bytes),
                share * (kParameters / 8.0 + 4.0 * ((kParameters + 4095) / 4096)) + 64.0);
      EXPECT_NEAR(static_cast<double>(sent.dense_bytes), share * 4.0 * kParameters, 4.0);
      EXPECT_GT(static_cast<double>(sent.dense_bytes) / static_cast<double>(sent.sent_bytes), 31.7);
    });
  }
}

// Parameter b gets no gradient at first on any rank, then on one: until all know, it stays.
TEST(DeadCoordinates, StayUntouchedUntilTheyWakeUp) {
  for (const int ranks : {1, 3}) {
    for (const Feedback method : {Feedback::kEf, Feedback::kEcontrol, Feedback::kEf21}) {
      run_ranks(ranks, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets mine(cx, 100);
        const auto reducer =
            make_compressed_reducer(cx, comm, mine.layout, config_of(method, "sign"));
        double sum_of_b = 0.0;
        for (std::int64_t s = 0; s < 40; ++s) {
          mine.fill_values(comm.rank(), s);
          const std::int64_t begin = mine.layout[0].begins[1];
          const Tensor b = mine.layout[0].flat.slice(begin, begin + 17);
          fill(cx, b, s >= 20 && comm.rank() == comm.size() - 1 ? 3.0 : 0.0);
          one_step(cx, *reducer, mine);
          const Values all = mine.values(0);
          for (std::size_t i = 100; i < all.size(); ++i) {
            const bool gap = i < static_cast<std::size_t>(begin);
            if (gap || s <= 20) {
              EXPECT_EQ(all[i], 0.0F) << i << " at step " << s;
            }
          }
          sum_of_b += static_cast<double>(all.back());
        }
        EXPECT_GT(sum_of_b, 0.0);
        // Nothing of the step in which b woke up is lost: what came out and what is owed add up.
        if (method == Feedback::kEf && ranks == 1) {
          test::SavedState state;
          test::StateSaver saver(state);
          reducer->visit_state(saver);
          EXPECT_NEAR(sum_of_b + static_cast<double>(state.means.at("ef/e/b").back()), 60.0, 1e-3);
        }
      });
    }
  }
}

// The momentum of coordinates that the caller says are dead stays zero, by every method: those that
// begin with a dense exchange have to see to it there as well.
class NamedDead : public testing::TestWithParam<Feedback> {};
INSTANTIATE_TEST_SUITE_P(Methods, NamedDead,
                         testing::Values(Feedback::kPlain, Feedback::kEf, Feedback::kEf21,
                                         Feedback::kEf21Sgdm, Feedback::kEcontrol),
                         [](const auto& p) { return std::string(name_of(p.param)); });
TEST_P(NamedDead, StayZero) {
  const Feedback method = GetParam();
  run_ranks(2, [method](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Buckets mine(cx, 64);
    for (const char* codec : {"sign", "topk", "int8"}) {
      const auto reducer = make_compressed_reducer(cx, comm, mine.layout, config_of(method, codec));
      const std::int64_t n = mine.layout[0].numel();
      const Tensor momentum = Tensor::zeros(cx, {n}, DType::kF32);
      const Tensor live = Tensor::zeros(cx, {(n + 7) / 8}, DType::kU8);
      fill(cx, live, 0x0F);
      for (std::int64_t s = 0; s < 5; ++s) {
        mine.fill_values(comm.rank(), s);
        reducer->submit(cx, 0, {Momentum{mine.layout[0].flat, 1.0F, momentum, 0.9F}, live});
        reducer->finish(cx);
        const Values m = momentum.to_host<float>(cx);
        for (std::size_t i = 0; i < m.size(); ++i)
          if (i % 8 >= 4) {
            EXPECT_EQ(m[i], 0.0F) << codec << " " << i;
          }
      }
    }
  });
}

TEST(SteadyState, AllocatesNoTensors) {
  run_ranks(2, [](Communicator& comm) {
    for (const Feedback method : {Feedback::kEf, Feedback::kEcontrol}) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, 5000);
      const auto reducer =
          make_compressed_reducer(cx, comm, mine.layout, config_of(method, "sign"));
      for (std::int64_t s = 0; s < 2; ++s) {
        mine.fill_values(comm.rank(), s);
        one_step(cx, *reducer, mine);
      }
      const MemoryStats before = runtime.allocator().stats();
      for (std::int64_t s = 2; s < 6; ++s) {
        mine.fill_values(comm.rank(), s);
        one_step(cx, *reducer, mine);
      }
      EXPECT_EQ(runtime.allocator().stats().system_allocations, before.system_allocations);
      EXPECT_EQ(runtime.allocator().stats().peak_bytes, before.peak_bytes);
    }
  });
}

// Whoever calls has voted on that; if it happens all the same, no rank waits for the other.
TEST(NotFinite, EndsAllRanks) {
  std::atomic<int> failed = 0;
  try {
    run_ranks(2, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, 100);
      const auto reducer =
          make_compressed_reducer(cx, comm, mine.layout, config_of(Feedback::kEf, "topk"));
      mine.fill_values(comm.rank(), 0);
      if (comm.rank() == 1) mine.layout[0].flat.host<float>()[3] = NAN;
      try {
        one_step(cx, *reducer, mine);
      } catch (const Error&) {
        ++failed;
        throw;
      }
    });
  } catch (const Error&) {
  }
  EXPECT_EQ(failed, 2);
}

}  // namespace
}  // namespace gradwire
