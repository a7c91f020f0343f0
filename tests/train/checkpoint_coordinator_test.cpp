#include "train/checkpoint_coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local_comm.h"
#include "core/error.h"
#include "tests/data/temp_folder.h"

namespace gradwire {
namespace {

TEST(Coordinator, GathersTextsOfEveryLength) {
  for (const int n : {1, 2, 3, 7}) {
    run_ranks(n, [n](Communicator& comm) {
      Runtime runtime;
      const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
      EXPECT_EQ(ranks->size(), n);
      const auto text = [](int rank) {
        return std::string(static_cast<std::size_t>(rank * rank * 100),
                           static_cast<char>('a' + rank));
      };
      const std::vector<std::string> all = ranks->all_gather(text(ranks->rank()));
      ASSERT_EQ(all.size(), static_cast<std::size_t>(n));
      for (int r = 0; r < n; ++r)
        EXPECT_EQ(all[static_cast<std::size_t>(r)], text(r));
      EXPECT_EQ(ranks->all_gather(""), std::vector<std::string>(static_cast<std::size_t>(n)));
    });
  }
}

TEST(Coordinator, AllOrNoneTellsEveryRankTheReasons) {
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    const std::unique_ptr<Coordinator> ranks = make_coordinator(runtime.context(), comm);
    const int rank = ranks->rank();
    EXPECT_THAT(all_or_none(*ranks, [&] { return std::to_string(rank); }),
                testing::ElementsAre("0", "1", "2"));
    const auto fails_with = [&](ErrorKind kind) {
      testing_data::expect_error(kind == ErrorKind::kIo ? ErrorKind::kIo : ErrorKind::kCheckpoint,
                                 {"rank 0: no space; rank 2: quota"}, [&] {
                                   all_or_none(*ranks, [&]() -> std::string {
                                     if (rank == 0) throw Error(kind, "no\nspace");
                                     if (rank == 2) throw std::runtime_error("quota");
                                     return "";
                                   });
                                 });
    };
    fails_with(ErrorKind::kIo);
    fails_with(ErrorKind::kData);
    EXPECT_THAT(all_or_none(*ranks, [] { return ""; }), testing::SizeIs(3));
  });
}

}  // namespace
}  // namespace gradwire
