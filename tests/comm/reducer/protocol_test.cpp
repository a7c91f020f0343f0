// The reducers against a reference that is written down here once more, rank by rank and chunk by
// chunk, on plain vectors; only the codecs are the same.
#include "tests/comm/reducer/reducer_world.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::Buckets;
using Values = std::vector<float>;

struct Method {
  Feedback feedback;
  const char* codec;
};
void PrintTo(const Method& m, std::ostream* os) {
  *os << name_of(m.feedback) << "_" << m.codec;
}
using Param = std::tuple<Method, int, std::int64_t>;  // ranks, elements of parameter a

// One bucket of all ranks.
class Reference {
 public:
  Reference(const CompressionConfig& config, int ranks, const FlatBucket& bucket, std::size_t index)
      : config_(config),
        codec_(make_codec(config.codec)),
        ranks_(ranks),
        n_(bucket.numel()),
        index_(index),
        begins_(bucket.begins) {
    const std::int64_t n = n_;
    const Values zeros(static_cast<std::size_t>(n));
    e_.assign(static_cast<std::size_t>(ranks), zeros);
    h_ = v_ = e_;
    server_ = sum_ = zeros;
    chunk_ = ((n + ranks - 1) / ranks + 7) / 8 * 8;
  }

  // x by rank; what all of them then hold.
  Values step(std::int64_t step, std::vector<Values> x) {
    const bool estimates = config_.method > Feedback::kEf;
    if (step == 0 && (estimates || !codec_->keeps_zero())) return dense(x, estimates);
    std::vector<Values> messages;
    for (std::size_t r = 0; r < x.size(); ++r)
      messages.push_back(message(static_cast<int>(r), step, x[r], estimates));
    Values answer = ranks_ == 1 ? messages[0] : serve(step, messages);
    if (!estimates) return answer;
    for (std::size_t i = 0; i < sum_.size(); ++i)
      sum_[i] += 1.0F * answer[i];
    return sum_;
  }

  const std::vector<Values>& e() const { return e_; }
  const Values& server() const { return server_; }

 private:
  Values dense(const std::vector<Values>& x, bool estimates) {
    Values mean = x[0];
    for (std::size_t r = 1; r < x.size(); ++r)
      for (std::size_t i = 0; i < mean.size(); ++i)
        mean[i] += x[r][i];
    for (float& m : mean)
      m *= 1.0F / static_cast<float>(ranks_);
    for (std::size_t i = 0; i < mean.size(); ++i)
      touched_.push_back(mean[i] != 0.0F);
    if (estimates) {
      h_ = v_ = x;
      sum_ = mean;
    }
    return mean;
  }

  Values message(int r, std::int64_t step, const Values& x, bool estimates) {
    const auto at = static_cast<std::size_t>(r);
    Values& e = e_[at];
    Values u = x, c(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (config_.method == Feedback::kEf21Sgdm) {
        const auto b = static_cast<float>(config_.sgdm_beta);
        u[i] = v_[at][i] = (1.0F - b) * v_[at][i] + b * u[i];
      }
      if (estimates) u[i] -= h_[at][i];
      c[i] = config_.method == Feedback::kEcontrol ? u[i] + static_cast<float>(*config_.eta) * e[i]
             : config_.method == Feedback::kEf     ? u[i] + e[i]
                                                   : u[i];
    }
    const Values d = through_codec(c, step, r, false);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (config_.method == Feedback::kEf) e[i] = c[i] - d[i];
      if (config_.method == Feedback::kEcontrol) e[i] += u[i] - d[i];
      if (estimates) h_[at][i] += d[i];
    }
    return d;
  }

  // Chunk by chunk, with the key of each; and within a chunk parameter by parameter if elements
  // share a scale.
  Values through_codec(const Values& c, std::int64_t step, int rank, bool server) {
    const std::string& name = config_.codec.name;
    const bool scaled = name == "sign" || name == "int8" || name == "int4" || name == "qsgd";
    Values d(c.size());
    for (int owner = 0; owner < ranks_; ++owner) {
      std::int64_t begin = std::min(n_, owner * chunk_);
      const std::int64_t last = std::min(n_, begin + chunk_);
      std::uint64_t pieces = 0;
      for (std::int64_t end = begin + 1; end <= last; ++end) {
        const bool border = scaled && std::ranges::count(begins_, end) > 0;
        if (end < last && !border) continue;
        encode_piece(c, step, server ? owner : rank, owner, {begin, end, pieces++, server}, d);
        begin = end;
      }
    }
    return d;
  }
  struct Part {
    std::int64_t begin, end;
    std::uint64_t index;
    bool server;
  };
  void encode_piece(const Values& c, std::int64_t step, int rank, int owner, const Part& part,
                    Values& d) {
    const auto size = static_cast<std::size_t>(part.end - part.begin);
    std::uint64_t seed = config_.seed;
    if (config_.codec.name != "randk") {
      seed = derive_seed(derive_seed(seed, static_cast<std::uint64_t>(rank)),
                         part.server ? "owner" : "worker");
    }
    const CodecKey key{seed, static_cast<std::uint64_t>(step),
                       index_ * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(owner) +
                           (part.index << 32)};
    std::vector<std::byte> payload(codec_->max_bytes(static_cast<std::int64_t>(size)));
    std::vector<std::byte> live((size + 7) / 8);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t whole = static_cast<std::size_t>(part.begin) + i;
      if (touched_.empty() || touched_[whole]) live[i / 8] |= std::byte{1} << (i % 8);
    }
    CodecInput in{.x = {c.data() + part.begin, size}};
    if (!codec_->keeps_zero()) in.live = live;
    codec_->encode(in, key, payload);
    DecodeTarget target{.to = {d.data() + part.begin, size}};
    if (!codec_->keeps_zero()) target.live = live;
    codec_->decode(payload, target);
  }

  Values serve(std::int64_t step, const std::vector<Values>& messages) {
    Values mean = messages[0];
    for (std::size_t r = 1; r < messages.size(); ++r)
      for (std::size_t i = 0; i < mean.size(); ++i)
        mean[i] += messages[r][i];
    for (std::size_t i = 0; i < mean.size(); ++i) {
      mean[i] *= 1.0F / static_cast<float>(ranks_);
      if (config_.method != Feedback::kPlain) mean[i] += server_[i];
    }
    const Values answer = through_codec(mean, step, 0, true);
    for (std::size_t i = 0; i < mean.size(); ++i)
      if (config_.method != Feedback::kPlain) server_[i] = mean[i] - answer[i];
    return answer;
  }

  CompressionConfig config_;
  std::unique_ptr<Codec> codec_;
  int ranks_;
  std::int64_t n_, chunk_ = 0;
  std::size_t index_;
  std::vector<std::int64_t> begins_;
  std::vector<Values> e_, h_, v_;
  Values server_, sum_;
  std::vector<bool> touched_;
};

CompressionConfig config_of(const Method& m) {
  CompressionConfig config;
  config.method = m.feedback;
  config.codec.name = m.codec;
  config.codec.ratio = 0.1;
  config.eta = 0.3;
  config.seed = 11;
  return config;
}

class Protocol : public testing::TestWithParam<Param> {};

TEST_P(Protocol, IsTheReferencesBitForBit) {
  const auto& [method, ranks, first] = GetParam();
  const CompressionConfig config = config_of(method);
  constexpr std::int64_t kSteps = 6;
  // By step and bucket.
  std::vector<std::vector<Values>> expected(kSteps);
  Runtime runtime;
  std::deque<Buckets> all;
  for (int r = 0; r < ranks; ++r)
    all.emplace_back(runtime.context(), first);
  std::deque<Reference> references;
  for (std::size_t b = 0; b < all[0].layout.size(); ++b)
    references.emplace_back(config, ranks, all[0].layout[b], b);
  for (std::int64_t s = 0; s < kSteps; ++s) {
    for (int r = 0; r < ranks; ++r)
      all[static_cast<std::size_t>(r)].fill_values(r, s);
    for (std::size_t b = 0; b < references.size(); ++b) {
      std::vector<Values> x;
      for (const Buckets& rank : all)
        x.push_back(rank.values(b));
      expected[static_cast<std::size_t>(s)].push_back(references[b].step(s, x));
    }
  }
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime own;
    Context& cx = own.context();
    Buckets mine(cx, first);
    const auto reducer = make_compressed_reducer(cx, comm, mine.layout, config);
    for (std::int64_t s = 0; s < kSteps; ++s) {
      mine.fill_values(comm.rank(), s);
      for (std::size_t b = 0; b < mine.layout.size(); ++b)
        reducer->submit(cx, b, {Gradient{mine.layout[b].flat}});
      reducer->finish(cx);
      for (std::size_t b = 0; b < mine.layout.size(); ++b)
        ASSERT_EQ(mine.values(b), expected[static_cast<std::size_t>(s)][b])
            << "step " << s << " bucket " << b << " rank " << comm.rank();
    }
  });
}

const Method kMethods[] = {
    {Feedback::kEf, "sign"},       {Feedback::kEf, "topk"},       {Feedback::kEf, "randk"},
    {Feedback::kEf, "int8"},       {Feedback::kEf, "qsgd"},       {Feedback::kEf, "natural"},
    {Feedback::kPlain, "topk"},    {Feedback::kPlain, "int4"},    {Feedback::kEf21, "topk"},
    {Feedback::kEf21Sgdm, "topk"}, {Feedback::kEf21Sgdm, "sign"}, {Feedback::kEcontrol, "topk"},
    {Feedback::kEcontrol, "sign"}, {Feedback::kEcontrol, "int8"}, {Feedback::kEcontrol, "randk"},
    {Feedback::kEcontrol, "bf16"}};
INSTANTIATE_TEST_SUITE_P(Methods, Protocol,
                         testing::Combine(testing::ValuesIn(kMethods), testing::Values(1, 2, 3, 7),
                                          testing::Values<std::int64_t>(1, 1000, 4097)));

// Rank by rank and step by step: what went in is what came out and what is still kept.
TEST(Telescoping, NothingIsLostForGood) {
  constexpr std::int64_t kSteps = 1000;
  for (const char* codec : {"sign", "topk", "int8"}) {
    run_ranks(3, [&](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Buckets mine(cx, 200);
      const auto reducer =
          make_compressed_reducer(cx, comm, mine.layout, config_of({Feedback::kEf, codec}));
      std::vector<double> sum_in(static_cast<std::size_t>(mine.layout[0].numel()));
      std::vector<double> sum_out(sum_in.size());
      for (std::int64_t s = 0; s < kSteps; ++s) {
        for (int r = 0; r < comm.size(); ++r) {
          mine.fill_values(r, s);
          const Values x = mine.values(0);
          for (std::size_t i = 0; i < x.size(); ++i)
            sum_in[i] += static_cast<double>(x[i]) / comm.size();
        }
        mine.fill_values(comm.rank(), s);
        for (std::size_t b = 0; b < 2; ++b)
          reducer->submit(cx, b, {Gradient{mine.layout[b].flat}});
        reducer->finish(cx);
        const Values out = mine.values(0);
        for (std::size_t i = 0; i < out.size(); ++i)
          sum_out[i] += static_cast<double>(out[i]);
      }
      test::SavedState state;
      test::StateSaver saver(state);
      reducer->visit_state(saver);
      // mean over ranks of e, plus the owners' residuals, by an all-reduce each.
      Tensor kept = Tensor::zeros(cx, {200}, DType::kF64);
      const Values& e = state.means.at("ef/e/a");
      const test::SavedState::Slice& server = state.slices.at("ef/server/a");
      for (std::size_t i = 0; i < 200; ++i)
        kept.host<double>()[i] = static_cast<double>(e[i]) / comm.size();
      for (std::size_t i = 0; i < server.elements.size(); ++i)
        kept.host<double>()[static_cast<std::size_t>(server.begin) + i] +=
            static_cast<double>(server.elements[i]);
      comm.all_reduce(kept, ReduceOp::kSum, cx.stream)->wait(cx.stream);
      for (std::size_t i = 0; i < 200; ++i)
        EXPECT_NEAR(sum_in[i], sum_out[i] + kept.host<double>()[i], 2e-4) << codec << " " << i;
    });
  }
}

// A momentum that is recalled is the one that was kept whole, bit for bit; asked for it is only
// if there is none: at first, when the exchange is fresh, and when the state was visited.
TEST(Recall, IsTheMomentumThatNobodyKept) {
  constexpr float kBeta = 0.9F, kWeight = 0.7F;
  for (const char* codec : {"sign", "topk", "int8"}) {
    for (const int ranks : {1, 2, 3}) {
      run_ranks(ranks, [&](Communicator& comm) {
        Runtime runtime;
        Context& cx = runtime.context();
        Buckets kept(cx, 1000), recalled(cx, 1000), momenta(cx, 1000);
        const CompressionConfig config = config_of({Feedback::kEf, codec});
        const auto keeps = make_compressed_reducer(cx, comm, kept.layout, config);
        const auto recalls = make_compressed_reducer(cx, comm, recalled.layout, config);
        momenta.fill_values(99, 0);
        std::deque<Tensor> live;
        for (const FlatBucket& b : kept.layout) {
          live.push_back(Tensor::zeros(cx, {(b.numel() + 7) / 8}, DType::kU8));
          std::ranges::fill(live.back().host<std::uint8_t>(), std::uint8_t{0xF7});
          for (std::int64_t i = 3; i < b.numel(); i += 8)
            momenta.layout[live.size() - 1].flat.host<float>()[static_cast<std::size_t>(i)] = 0.0F;
        }
        int asked = 0;
        for (std::int64_t s = 0; s < 12; ++s) {
          kept.fill_values(comm.rank(), s);
          for (const FlatBucket& b : recalled.layout)
            fill(cx, b.flat, 0.0);  // gaps too: the answer is everywhere
          recalled.fill_values(comm.rank(), s);
          std::deque<Tensor> before;
          for (std::size_t b = 0; b < live.size(); ++b) {
            const Tensor& m = momenta.layout[b].flat;
            before.push_back(Tensor::from(cx, {m.numel()}, m.to_host<float>(cx)));
            const bool fresh = s == 5;
            keeps->submit(cx, b,
                          {.what = Momentum{kept.layout[b].flat, kWeight, m, kBeta},
                           .live = live[b],
                           .reset_residuals = fresh});
            recalls->submit(cx, b,
                            {.what = RecalledMomentum{recalled.layout[b].flat, kWeight, kBeta,
                                                      [&, b](Context& on, const Tensor& to) {
                                                        ++asked;
                                                        copy(on, to, before[b]);
                                                      }},
                             .live = live[b],
                             .reset_residuals = fresh});
          }
          keeps->finish(cx);
          recalls->finish(cx);
          for (std::size_t b = 0; b < live.size(); ++b) {
            const std::vector<float> got = recalled.values(b), want = momenta.values(b);
            for (std::size_t i = 0; i < want.size(); ++i) {
              if (i % 8 == 3) continue;  // takes no part
              ASSERT_EQ(got[i], want[i]) << codec << " " << ranks << " " << s;
            }
          }
          if (s != 8) continue;
          test::SavedState state;
          test::StateSaver saver(state);
          recalls->visit_state(saver);
        }
        EXPECT_EQ(asked, 3 * std::ssize(live)) << codec << " " << ranks;
      });
    }
  }
}

TEST(Config, WhatCannotBeIsRefused) {
  Runtime runtime;
  const auto world = make_local_world(1);
  const Buckets mine(runtime.context(), 10);
  const auto make = [&](const CompressionConfig& config) {
    make_compressed_reducer(runtime.context(), *world[0], mine.layout, config);
  };
  test::expect_error(ErrorKind::kConfig, "eta", [&] { make({.eta = -1.0}); });
  test::expect_error(ErrorKind::kConfig, "sgdm_beta", [&] { make({.sgdm_beta = 0.0}); });
  test::expect_error(ErrorKind::kConfig, "codec", [&] { make({.codec = {.name = "zip"}}); });
  const auto reducer = make_compressed_reducer(runtime.context(), *world[0], mine.layout,
                                               {.method = Feedback::kEcontrol});
  const Exchange recalls{RecalledMomentum{mine.layout[0].flat, 1.0F, 0.9F, {}}};
  test::expect_error(ErrorKind::kUsage, "econtrol: cannot exchange a recalled momentum",
                     [&] { reducer->submit(runtime.context(), 0, recalls); });
  test::expect_error(ErrorKind::kConfig, "no method", [] { feedback_named("ef22"); });
}

TEST(EControl, WarnsOnceAboveTheEdgeOfStability) {
  Runtime runtime;
  const auto world = make_local_world(1);
  const Buckets mine(runtime.context(), 1000);
  CompressionConfig config = config_of({Feedback::kEcontrol, "randk"});  // keeps a tenth
  for (const double eta : {0.3, 0.5}) {
    config.eta = eta;
    const auto reducer = make_compressed_reducer(runtime.context(), *world[0], mine.layout, config);
    const std::string message = reducer->take_log_message();
    EXPECT_EQ(message.find("eta 0.5") != std::string::npos, eta > 0.4) << message;
    EXPECT_EQ(reducer->take_log_message(), "");
  }
}

}  // namespace
}  // namespace gradwire
