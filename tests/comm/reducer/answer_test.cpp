// What is read of the last answer, and what is made of an answer while it arrives.
#include <functional>

#include "comm/reducer/power_sgd.h"
#include "tests/comm/reducer/reducer_world.h"

namespace gradwire {
namespace {

using test::Buckets;

CompressionConfig config_of(Feedback method, const char* codec) {
  CompressionConfig config;
  config.method = method;
  config.codec = {.name = codec, .ratio = 0.1};
  config.seed = 11;
  return config;
}

// Momenta as they are on all ranks, in a bucket's layout; each eighth coordinate takes no part.
struct Momenta {
  Momenta(Context& cx, std::int64_t first) : buckets(cx, first) {
    buckets.fill_values(99, 0);
    for (const FlatBucket& b : buckets.layout) {
      live.push_back(Tensor::zeros(cx, {(b.numel() + 7) / 8}, DType::kU8));
      std::ranges::fill(live.back().host<std::uint8_t>(), std::uint8_t{0xF7});
      for (std::int64_t i = 3; i < b.numel(); i += 8)
        b.flat.host<float>()[static_cast<std::size_t>(i)] = 0.0F;
    }
  }
  Buckets buckets;
  std::deque<Tensor> live;
};

// All that takes part.
void spoil(const Tensor& momentum) {
  const auto m = momentum.host<float>();
  for (std::size_t i = 0; i < m.size(); ++i)
    if (i % 8 != 3) m[i] = std::nanf("");
}

TEST(Unchanged, IsTheMomentumBitForBit) {
  constexpr std::int64_t kVisited = 6;
  EXPECT_TRUE(make_codec({.name = "sign"})->reads_fast());
  for (const char* codec : {"sign", "int8", "int4", "topk"}) {
    for (const int ranks : {1, 2, 3}) {
      run_ranks(ranks, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets values(cx, 9000);
        Momenta plain(cx, 9000), short_cut(cx, 9000);
        const CompressionConfig config = config_of(Feedback::kEf, codec);
        const bool reads_fast = make_codec(config.codec)->reads_fast();
        const auto by_floats = make_compressed_reducer(cx, comm, values.layout, config);
        const auto by_answer = make_compressed_reducer(cx, comm, values.layout, config);
        for (std::int64_t s = 0; s < 8; ++s) {
          values.fill_values(comm.rank(), s);
          const bool fresh = s == 4;
          for (std::size_t b = 0; b < values.layout.size(); ++b) {
            Momentum m{.gradient = values.layout[b].flat,
                       .weight = 0.7F,
                       .momentum = plain.buckets.layout[b].flat,
                       .beta = 0.9F};
            Exchange e{.what = m, .live = plain.live[b], .reset_residuals = fresh};
            by_floats->submit(cx, b, e);
            m.momentum = short_cut.buckets.layout[b].flat;
            m.as_agreed = s > 0 && !fresh;
            e.what = m;
            // Whoever takes the short cut reads no float of it. The visit has made an end of
            // answers.
            if (m.as_agreed && s != kVisited + 1 && reads_fast) spoil(m.momentum);
            by_answer->submit(cx, b, e);
          }
          by_floats->finish(cx);
          by_answer->finish(cx);
          for (std::size_t b = 0; b < values.layout.size(); ++b)
            ASSERT_EQ(plain.buckets.values(b), short_cut.buckets.values(b))
                << codec << " " << ranks << " " << s;
          if (s != kVisited) continue;
          test::SavedState state;
          test::StateSaver saver(state);
          by_answer->visit_state(saver);
        }
      });
    }
  }
}

using Make =
    std::function<std::unique_ptr<Reducer>(Context&, Communicator&, std::span<const FlatBucket>)>;

Make compressed(Feedback method, const char* codec) {
  return [=](Context& cx, Communicator& comm, std::span<const FlatBucket> layout) {
    return make_compressed_reducer(cx, comm, layout, config_of(method, codec));
  };
}

// Every element once, with the value that it keeps; in dense first steps as well.
void expect_use(const char* name, bool momentum, const Make& make) {
  for (const int ranks : {1, 3}) {
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets values(cx, 9000), momenta(cx, 9000);
      momenta.fill_values(99, 0);
      const auto reducer = make(cx, comm, values.layout);
      for (std::int64_t s = 0; s < 3; ++s) {
        values.fill_values(comm.rank(), s);
        std::vector<std::vector<float>> used;
        for (const FlatBucket& b : values.layout)
          used.emplace_back(static_cast<std::size_t>(b.numel()));
        for (std::size_t b = 0; b < used.size(); ++b) {
          Exchange e{Gradient{values.layout[b].flat}};
          if (momentum)
            e.what = Momentum{values.layout[b].flat, 1.0F, momenta.layout[b].flat, 0.9F};
          e.use = [&, b](std::int64_t begin, std::int64_t end, const float* result) {
            for (std::int64_t i = begin; i < end; ++i)
              used[b][static_cast<std::size_t>(i)] += result[i - begin];
          };
          reducer->submit(cx, b, e);
        }
        reducer->finish(cx);
        for (std::size_t b = 0; b < used.size(); ++b)
          ASSERT_EQ(used[b], (momentum ? momenta : values).values(b)) << name << " " << ranks;
      }
    });
  }
}

TEST(Use, SeesEveryElementOnceWithItsResult) {
  for (const bool momentum : {false, true}) {
    expect_use("dense", momentum,
               [](Context&, Communicator& comm, auto) { return make_dense_reducer(comm); });
    for (const char* codec : {"sign", "int8", "topk", "randk"})
      expect_use(codec, momentum, compressed(Feedback::kEf, codec));
    expect_use("econtrol", momentum, compressed(Feedback::kEcontrol, "topk"));
    expect_use("powersgd", momentum, [](Context& cx, Communicator& comm, auto layout) {
      return make_power_sgd_reducer(cx, comm, layout, {.rank = 2});
    });
  }
}

}  // namespace
}  // namespace gradwire
