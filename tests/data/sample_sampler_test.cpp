// Samples to fine-tune on, from the token file to batches.
#include "data/sample_sampler.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

using testing_data::expect_error;
using testing_data::TempFolder;

constexpr std::int64_t kContext = 16, kVocabulary = 1000;

// Sample i has the tokens 10 i, 10 i + 1, ..., and the last i % 3 + 1 of them are answers.
class SampleSampler : public ::testing::Test {
 protected:
  SampleSampler() {
    TokenFileWriter out(folder_.file("s.h5"), {kVocabulary, 7, true});
    for (std::int32_t i = 0; i < 40; ++i) {
      const std::int32_t length = 4 + i * 5 % 13;
      std::vector<std::int32_t> ids;
      for (std::int32_t t = 0; t < length; ++t)
        ids.push_back(10 * i + t);
      std::vector<std::uint8_t> answers(ids.size(), 0);
      std::fill_n(answers.rbegin(), i % 3 + 1, std::uint8_t{1});
      out.add_sample(ids, answers);
    }
    out.finish({3, 1});
    file_.emplace(TokenFile::open(folder_.file("s.h5")));
  }
  SamplerConfig config(int rank, int ranks, std::int64_t batch) const {
    return {.sequence = kContext, .batch = batch, .seed = 5, .rank = rank, .ranks = ranks};
  }
  // Each row of a batch as text, with its answers and where its samples start.
  std::vector<std::string> rows_of(const Batch& batch) {
    const auto ids = batch.inputs.to_host<std::int32_t>(cx),
               targets = batch.targets.to_host<std::int32_t>(cx);
    std::vector<std::int32_t> starts(ids.size());
    if (batch.sample_starts) starts = batch.sample_starts.to_host<std::int32_t>(cx);
    std::vector<std::string> rows(static_cast<std::size_t>(batch.inputs.dim(0)));
    for (std::size_t i = 0; i < ids.size(); ++i)
      rows[i / kContext] += std::to_string(ids[i]) + ">" + std::to_string(targets[i]) + "@" +
                            std::to_string(starts[i]) + " ";
    return rows;
  }
  TempFolder folder_;
  std::optional<TokenFile> file_;
  Runtime runtime_;
  Context& cx = runtime_.context();
};

TEST_F(SampleSampler, TheFileKeepsAnswersAndCounts) {
  file_->verify();
  EXPECT_TRUE(file_->has_answers());
  EXPECT_EQ(file_->answer_tokens(), 14 + 13 * 2 + 13 * 3);
  EXPECT_EQ(file_->sample_counts().truncated, 3);
  EXPECT_EQ(file_->sample_counts().left_out, 1);
  TokenFileWriter other(folder_.file("t.h5"), {kVocabulary, 7, true});
  const std::vector<std::int32_t> ids{1, 2};
  for (const std::vector<std::uint8_t>& bad : {std::vector<std::uint8_t>{0, 0}, {1, 1}, {0, 0, 1}})
    expect_error(ErrorKind::kUsage, {"token file"}, [&] { other.add_sample(ids, bad); });
}

// The same tokens with other answers are other data.
TEST_F(SampleSampler, TheHashCoversAnswers) {
  const auto hash_with = [&](std::vector<std::uint8_t> answers) {
    TokenFileWriter out(folder_.file("t.h5"), {kVocabulary, 7, true});
    out.add_sample(std::vector<std::int32_t>{1, 2, 3}, answers);
    out.finish();
    return TokenFile::open(folder_.file("t.h5")).tokens_hash();
  };
  EXPECT_NE(hash_with({0, 1, 0}), hash_with({0, 0, 1}));
  EXPECT_EQ(hash_with({0, 1, 0}), hash_with({0, 1, 0}));
}

TEST_F(SampleSampler, DamagedFilesAreRefused) {
  const std::string path = folder_.file("forged.h5");
  const auto forge = [&](std::vector<std::uint8_t> answers, std::vector<std::int64_t> counts,
                         std::int64_t sum) {
    const std::vector<std::int32_t> ids{1, 2, 3, 4, 5};
    const std::vector<std::int64_t> offsets{0, 2, 5};
    Hdf5File out = Hdf5File::create(path);
    out.write("tokens", DType::kI32, {5}, ids.data());
    out.write("offsets", DType::kI64, {3}, offsets.data());
    out.write("answers", DType::kU8, {std::ssize(answers)}, answers.data());
    out.write("answer_counts", DType::kI64, {std::ssize(counts)}, counts.data());
    out.set_attribute("format_version", std::int64_t{2});
    out.set_attribute("vocabulary", std::int64_t{10});
    out.set_attribute("tokenizer_hash", std::string("1"));
    out.set_attribute("tokens", std::int64_t{5});
    out.set_attribute("documents", std::int64_t{2});
    out.set_attribute("tokens_hash", std::string("x"));
    out.set_attribute("answer_tokens", sum);
    out.close();
  };
  const auto refused = [&](const char* why) {
    expect_error(ErrorKind::kData, {"forged.h5: ", why}, [&] { TokenFile::open(path); });
  };
  forge({0, 1, 0, 1}, {1, 1}, 2);
  refused("answers of another shape or type");
  forge({0, 1, 0, 0, 1}, {1, 3}, 4);
  refused("sample 1 has 3 answers among 3 tokens");
  forge({0, 1, 0, 0, 1}, {0, 1}, 1);
  refused("sample 0 has 0 answers among 2 tokens");
  forge({0, 1, 0, 0, 1}, {1, 1}, 7);
  refused("7 answers written, 2 found");
  forge({0, 1, 0, 0, 1}, {1}, 1);
  refused("answer_counts");
  for (const std::vector<std::uint8_t>& answers :
       {std::vector<std::uint8_t>{0, 1, 0, 1, 1}, {0, 1, 0, 0, 9}}) {
    forge(answers, {1, 1}, 2);
    const TokenFile file = TokenFile::open(path);
    SampleReader reader(cx, file, {.sequence = 4, .batch = 1}, true);
    const std::vector<std::int64_t> first{0};
    expect_error(ErrorKind::kData, {"forged.h5: "}, [&] { reader.read(first); });
  }
}

TEST_F(SampleSampler, EverySampleLiesInOneRow) {
  double padding[2];
  for (const bool packs : {false, true}) {
    const SampleRows rows(*file_, kContext, packs);
    std::set<std::int64_t> seen;
    for (std::int64_t row = 0; row < rows.rows(); ++row) {
      std::int64_t used = 0;
      for (const std::int64_t sample : rows.samples_of(row)) {
        EXPECT_TRUE(seen.insert(sample).second) << sample;
        used += rows.begin_of(sample + 1) - rows.begin_of(sample) - 1;
      }
      EXPECT_LE(used, kContext);
      EXPECT_TRUE(packs || rows.samples_of(row).size() == 1U);
    }
    EXPECT_EQ(seen.size(), 40U);
    padding[packs ? 1 : 0] = rows.padding_share();
  }
  EXPECT_GT(padding[0], 0.3);
  EXPECT_LT(padding[1], 0.06);
  expect_error(ErrorKind::kData, {"s.h5: sample", "a context of 10 has room for 11"},
               [&] { SampleRows(*file_, 10, true); });
}

TEST_F(SampleSampler, TargetsAreTheAnswersOfEachSampleAlone) {
  for (const bool packs : {false, true}) {
    SampleTrainSampler sampler(cx, *file_, config(0, 1, 1), packs);
    std::map<std::int32_t, int> targets;
    for (std::int64_t i = 0; i < sampler.sequences_per_epoch(); ++i) {
      const std::int64_t promised = sampler.targets_after(sampler.sequences_taken()).value();
      const Batch batch = sampler.next();
      const auto ids = batch.inputs.to_host<std::int32_t>(cx),
                 wanted = batch.targets.to_host<std::int32_t>(cx);
      std::int64_t here = 0;
      for (std::size_t t = 0; t < ids.size(); ++t) {
        if (wanted[t] == kIgnoredTarget) continue;
        ++here;
        ++targets[wanted[t]];
        EXPECT_EQ(wanted[t], ids[t] + 1);  // of the same sample
        if (!packs) continue;
        const auto start =
            static_cast<std::size_t>(batch.sample_starts.to_host<std::int32_t>(cx)[t]);
        EXPECT_EQ(ids[t] - ids[start], static_cast<std::int32_t>(t - start));
        EXPECT_EQ(ids[start] % 10, 0);  // a sample's first token
      }
      EXPECT_EQ(here, promised);
      EXPECT_EQ(batch.targets_here, promised);
      EXPECT_EQ(static_cast<bool>(batch.sample_starts), packs);
    }
    std::int64_t all = 0;
    for (const auto& [target, times] : targets)
      all += times;
    EXPECT_EQ(all, file_->answer_tokens());
  }
}

TEST_F(SampleSampler, RanksTogetherSeeWhatOneSees) {
  const auto seen = [&](int ranks, std::int64_t batch) {
    std::vector<SampleTrainSampler> all;
    for (int r = 0; r < ranks; ++r)
      all.emplace_back(cx, *file_, config(r, ranks, batch), true);
    std::vector<std::string> rows;
    while (std::ssize(rows) < 48) {
      for (SampleTrainSampler& sampler : all)
        for (const std::string& row : rows_of(sampler.next()))
          rows.push_back(row);
    }
    return rows;
  };
  const std::vector<std::string> one = seen(1, 4);
  EXPECT_EQ(seen(2, 2), one);
  EXPECT_EQ(seen(4, 1), one);
  EXPECT_EQ(seen(1, 1), one);
}

TEST_F(SampleSampler, ValidationTakesEachRowOnce) {
  for (const int ranks : {1, 3}) {
    std::int64_t targets = 0, tokens = 0;
    for (int r = 0; r < ranks; ++r) {
      SampleValidationSampler sampler(cx, *file_, config(r, ranks, 5), true);
      for (std::int64_t i = 0; i < sampler.batches(); ++i) {
        const Batch batch = sampler.batch(i);
        EXPECT_EQ(batch.targets_here, sampler.targets_in(i));
        targets += batch.targets_here;
        tokens += batch.tokens;
      }
      expect_error(ErrorKind::kUsage, {"validation batch"},
                   [&] { sampler.batch(sampler.batches()); });
    }
    EXPECT_EQ(targets, file_->answer_tokens());
    EXPECT_EQ(tokens, file_->tokens() - file_->documents());
  }
}

}  // namespace
}  // namespace gradwire
