#include "comm/mpi/mpi_comm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/comm_contract.h"
#include "tests/support/mpi_world.h"

namespace gradwire {
namespace {

class MpiContract : public testing::TestWithParam<std::size_t> {};

TEST_P(MpiContract, Holds) {
  test::contract_cases()[GetParam()].run(test::mpi_world()->comm());
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiContract,
                         testing::Range<std::size_t>(0, test::contract_cases().size()),
                         [](const testing::TestParamInfo<std::size_t>& p) {
                           return std::string(test::contract_cases()[p.param].name);
                         });

TEST(MpiWorld, DescribesItself) {
  EXPECT_THAT(test::mpi_world()->comm().describe(), testing::MatchesRegex("mpi \\(.*\\), . ranks"));
}

TEST(MpiWorld, MpiStartsOnce) {
  EXPECT_THROW(MpiWorld(), Error);
}

TEST(MpiWorld, PiecesMustFitMpisCounts) {
  MpiOptions options;
  options.piece_bytes = std::int64_t{1} << 31;
  EXPECT_THROW(MpiWorld{options}, Error);
}

}  // namespace
}  // namespace gradwire
