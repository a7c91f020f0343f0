// Thousands of tiny pieces of state: what they cost in files, and that they are found again. And
// checkpoints of the format before, which has a dataset and an entry for every one of them.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "data/hdf5.h"
#include "tests/data/temp_folder.h"
#include "tests/support/expect_error.h"
#include "tests/train/checkpoint_run.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::SmallRun;
using test::ThreadRanks;
using testing::ElementsAre;
using testing::IsEmpty;

// Tensors whose values say of which rank they are and which they are.
class Pieces final : public Stateful {
 public:
  Pieces(int count, std::int64_t elements, int rank, float scale) {
    for (int i = 0; i < count; ++i) {
      const Share share = i % 2 == 0 ? Share::kReplicated : Share::kMean;
      const int whose = share == Share::kReplicated ? 0 : rank;
      shares_.push_back(share);
      tensors.push_back(Tensor::zeros(cx, {elements}, DType::kF32));
      for (float& x : tensors.back().host<float>())
        x = scale * static_cast<float>(1000 * whose + i);
    }
  }
  void visit_state(StateVisitor& v) override {
    for (std::size_t i = 0; i < tensors.size(); ++i)
      v.tensor("adapters." + std::to_string(i) + ".weight", tensors[i], shares_[i]);
  }
  std::vector<std::vector<float>> values() {
    std::vector<std::vector<float>> all;
    for (Tensor& t : tensors)
      all.push_back(t.to_host<float>(cx));
    return all;
  }

  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<Tensor> tensors;

 private:
  std::vector<Share> shares_;
};

class CheckpointPacked : public testing::Test {
 protected:
  std::uint64_t save(int count, std::int64_t elements, int ranks) {
    std::uint64_t bytes = 0;
    ThreadRanks::run(ranks, [&](Coordinator& rank) {
      Pieces mine(count, elements, rank.rank(), 1.0F);
      const SaveResult saved =
          save_checkpoint(mine.cx, {.dir = dir, .run = {"m", "r"}}, 1, {{}, {&mine}}, rank);
      EXPECT_TRUE(saved.committed) << saved.why;
      if (rank.rank() == 0) bytes = saved.bytes;
    });
    return bytes;
  }

  testing_data::TempFolder folder;
  std::string dir = folder.file("checkpoints");
};

// As many bytes as one tensor of the same size, but for names, places and checksums.
TEST_F(CheckpointPacked, TinyPiecesTakeLittleMoreThanOneTensorOfTheirSize) {
  constexpr int kCount = 2000, kRanks = 4;
  constexpr std::int64_t kElements = 64;
  const std::uint64_t tiny = save(kCount, kElements, kRanks);
  const std::uint64_t flat = save(2, kElements * kCount / 2, kRanks);
  EXPECT_LT(static_cast<double>(tiny), 1.3 * static_cast<double>(flat));
}

TEST_F(CheckpointPacked, RanksShareEntriesAndWriteWhatTheyShareTogether) {
  save(100, 16, 3);
  const Manifest manifest = read_manifest(dir + "/step-00000001");
  EXPECT_EQ(manifest.entries.size(), 100U);
  for (const ManifestEntry& e : manifest.entries) {
    const bool own = e.share == Share::kMean;
    ASSERT_EQ(e.copies.size(), own ? 3U : 1U) << e.name;
    EXPECT_EQ(e.copies.back().rank, own ? 2 : 0) << e.name;
    EXPECT_TRUE(e.is_packed());
  }
  EXPECT_THAT(Hdf5File::open(dir + "/step-00000001/rank-00002.h5").dataset_names(),
              ElementsAre("packed/f32"));
  EXPECT_EQ(parse_manifest(to_text(manifest)).entries.size(), 100U);
}

// More than a block of them, so that pieces lie across the border of two.
TEST_F(CheckpointPacked, EveryPieceComesBackOnThisAndOnAnotherNumberOfRanks) {
  constexpr int kCount = 300;
  constexpr std::int64_t kElements = 1001;
  save(kCount, kElements, 3);
  EXPECT_THAT(verify_checkpoint(dir + "/step-00000001").problems, IsEmpty());
  for (const int now : {3, 2}) {
    ThreadRanks::run(now, [&](Coordinator& rank) {
      Pieces mine(kCount, kElements, 0, 0.0F),
          saved(kCount, kElements, now == 3 ? rank.rank() : 1, 1.0F);
      load_checkpoint(mine.cx, paths_of(list_checkpoints(dir)), {.model = "m"}, {{}, {&mine}},
                      rank);
      EXPECT_EQ(mine.values(), saved.values());  // rank 1's are the mean of 0, 1 and 2
    });
  }
}

TEST_F(CheckpointPacked, ANameThatPacksHaveIsRefused) {
  SmallRun run(1);
  run.wte.name = "x";
  class Named final : public Stateful {
   public:
    void visit_state(StateVisitor& v) override { v.number("packed/f32", value); }
    std::int64_t value = 0;
  } named;
  SingleRank one;
  test::expect_error(ErrorKind::kInternal, "a piece of state is named packed/f32", [&] {
    save_checkpoint(run.cx, {.dir = dir, .run = {"m", "r"}}, 1, {{}, {&named}}, one);
  });
}

// Format 1, as versions up to 0.1 wrote it.
class OldCheckpoint : public CheckpointPacked {
 protected:
  void write(int ranks, int seed) {
    fs::create_directories(step);
    json j = {{"format", 1},   {"step", seed}, {"ranks", ranks},         {"model", "m"},
              {"recipe", "r"}, {"layout", ""}, {"files", json::array()}, {"state", json::array()}};
    for (int rank = 0; rank < ranks; ++rank)
      write_shard(rank, seed, j);
    j["xxh3"] = to_hex(hash_of(j.dump()));
    std::ofstream(step + "/manifest.json") << j.dump(1) << "\n";
  }
  static constexpr int kStep = 7;
  std::string step = dir + "/step-00000007";

 private:
  void write_shard(int rank, int seed, json& j) {
    SmallRun run(seed, rank);
    const std::string path = step + "/" + shard_name(rank);
    Hdf5File file = Hdf5File::create(path);
    file.set_attribute("step", std::int64_t{seed});
    file.set_attribute("rank", std::int64_t{rank});
    for (const StatePiece& piece : pieces_of(run.state())) {
      if (piece.share == Share::kReplicated && rank != 0) continue;
      const HostBytes bytes(run.cx, piece);
      file.write(piece.name, piece.dtype, piece.shape, bytes.data());
      const auto dims = piece.shape.dims();
      j["state"].push_back(
          {{"name", piece.name},
           {"kind", name_of(piece.kind)},
           {"dtype", name_of(piece.dtype)},
           {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
           {"share", piece.share == Share::kReplicated ? "replicated" : "per_rank"},
           {"rank", rank},
           {"xxh3", to_hex(hash_of(bytes.span()))}});
    }
    file.close();
    const FileDigest digest = digest_file(path);
    j["files"].push_back({{"rank", rank}, {"bytes", digest.bytes}, {"xxh3", to_hex(digest.xxh3)}});
  }
};

TEST_F(OldCheckpoint, LoadsAndVerifies) {
  write(3, kStep);
  EXPECT_THAT(verify_checkpoint(step).problems, IsEmpty());
  ThreadRanks::run(3, [&](Coordinator& rank) {
    SmallRun loaded(1), expected(kStep, rank.rank());
    const LoadResult result = load_checkpoint(loaded.cx, paths_of(list_checkpoints(dir)),
                                              {.model = "m"}, loaded.state(), rank);
    EXPECT_EQ(result.step, kStep);
    EXPECT_EQ(loaded.bytes(), expected.bytes());
  });
}

TEST_F(OldCheckpoint, FlippedBitsAreFoundAndNamed) {
  write(1, kStep);
  const std::string good = testing_data::slurp(step + "/manifest.json");
  for (std::size_t byte = 0; byte + 1 < good.size(); byte += 7) {
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] ^ 1);
    EXPECT_THROW(parse_manifest(bad), Error) << byte;
  }
  testing_data::flip_bit(step + "/rank-00000.h5", fs::file_size(step + "/rank-00000.h5") - 1000);
  EXPECT_THAT(verify_checkpoint(step).problems,
              testing::Contains(testing::HasSubstr("its checksum is not the manifest's")));
}

}  // namespace
}  // namespace gradwire
