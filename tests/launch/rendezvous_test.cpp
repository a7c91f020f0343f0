#include "launch/start/rendezvous.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

EnvironmentLookup lookup_in(const Variables& variables) {
  return [&variables](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

TcpOptions find(const Variables& variables, const CommRecipe& recipe = {},
                const std::string& run_dir = "run") {
  const EnvironmentLookup lookup = lookup_in(variables);
  return find_rendezvous(read_rank_environment(lookup), recipe, lookup, run_dir);
}

const Variables kTwoHosts = {{"SLURM_STEP_ID", "0"},
                             {"SLURM_JOB_ID", "77"},
                             {"SLURM_PROCID", "1"},
                             {"SLURM_NTASKS", "2"},
                             {"SLURM_LOCALID", "0"},
                             {"SLURM_NODEID", "1"},
                             {"SLURM_STEP_TASKS_PER_NODE", "1(x2)"},
                             {"SLURM_STEP_NODELIST", "node[04-05]"}};

TEST(Transport, AutoIsMpiOnlyBelowWhatSpeaksIt) {
  const auto of = [](const Variables& v, const char* backend) {
    CommRecipe recipe;
    recipe.backend = backend;
    return transport_of(read_rank_environment(lookup_in(v)), recipe);
  };
  const Variables open_mpi = {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}};
  const Variables launched = {{"GRADWIRE_RANK", "0"}, {"GRADWIRE_SIZE", "2"}};
  EXPECT_EQ(of(open_mpi, "auto"), Transport::kMpi);
  EXPECT_EQ(of({{"PMIX_RANK", "0"}}, "auto"), Transport::kMpi);
  EXPECT_EQ(of(kTwoHosts, "auto"), Transport::kTcp);
  EXPECT_EQ(of(launched, "auto"), Transport::kTcp);
  EXPECT_EQ(of({{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "auto"), Transport::kTcp);
  EXPECT_EQ(of(open_mpi, "tcp"), Transport::kTcp);
  EXPECT_EQ(of(launched, "mpi"), Transport::kMpi);
}

TEST(Address, HostAndPort) {
  const auto text = [](const char* s) {
    const Address a = parse_address(s);
    return a.host + " " + std::to_string(a.port);
  };
  EXPECT_EQ(text("node1"), "node1 29400");
  EXPECT_EQ(text("10.0.0.1:80"), "10.0.0.1 80");
  EXPECT_EQ(text("[2001:db8::1]:81"), "2001:db8::1 81");
  EXPECT_EQ(text("[::1]"), "::1 29400");
  for (const char* bad :
       {"", ":80", "a:", "a:0", "a:70000", "a:8x", "::1", "[::1", "[]:80", "[::1]80"})
    test::expect_error(ErrorKind::kUsage, "", [&] { parse_address(bad); });
}

TEST(HostList, IsExpandedAsSlurmWritesIt) {
  EXPECT_THAT(expand_host_list("a"), ElementsAre("a"));
  EXPECT_THAT(expand_host_list("n[08-10,3],login"),
              ElementsAre("n08", "n09", "n10", "n3", "login"));
  EXPECT_THAT(expand_host_list("r[1-2]n[5,7].x"),
              ElementsAre("r1n5.x", "r1n7.x", "r2n5.x", "r2n7.x"));
  EXPECT_EQ(expand_host_list("n[0-65535]").size(), 65536U);
  for (const char* bad : {",", "a,,b", "n[1-", "n[]", "n[2-1]", "n[a]", "n[1-2-3]", "n[0-65536]",
                          "n[0-999]m[0-999]", "n[99999999999]"})
    test::expect_error(ErrorKind::kUsage, "is no list of hosts", [&] { expand_host_list(bad); });
}

TEST(Rendezvous, TheRecipeComesFirst) {
  CommRecipe recipe;
  recipe.address = "far:1234";
  recipe.connections = 3;
  recipe.timeout_s = 7;
  Variables v = kTwoHosts;
  v["GRADWIRE_TOKEN"] = "secret";
  const TcpOptions o = find(v, recipe);
  EXPECT_THAT(o.addresses, ElementsAre("far"));
  EXPECT_EQ(o.port, 1234);
  EXPECT_EQ(o.rank, 1);
  EXPECT_EQ(o.size, 2);
  EXPECT_EQ(o.connections, 3);
  EXPECT_EQ(o.timeout, std::chrono::seconds(7));
  EXPECT_EQ(o.token, "secret");
}

TEST(Rendezvous, LaunchHandsOverASocket) {
  Variables v = {{"GRADWIRE_RANK", "0"},
                 {"GRADWIRE_SIZE", "2"},
                 {"GRADWIRE_ADDRESS", "127.0.0.1:5"},
                 {"GRADWIRE_LISTENER", "9"}};
  EXPECT_EQ(find(v).listener, 9);
  EXPECT_EQ(find(v).port, 5);
  v["GRADWIRE_RANK"] = "1";
  EXPECT_EQ(find(v).listener, -1);
}

TEST(Rendezvous, SlurmsFirstHostAtAPortOfTheJob) {
  Variables v = kTwoHosts;
  const TcpOptions o = find(v);
  EXPECT_THAT(o.addresses, ElementsAre("node04"));
  EXPECT_GE(o.port, 20000);
  EXPECT_LT(o.port, 29000);
  EXPECT_THAT(o.token, HasSubstr("77"));
  v["SLURM_PROCID"] = "0";
  EXPECT_EQ(find(v).port, o.port);
  v["SLURM_JOB_ID"] = "78";
  EXPECT_NE(find(v).port, o.port);
}

TEST(Rendezvous, MasterOfTorchrunWhoseStoreHasTheMastersPort) {
  Variables v = {{"RANK", "1"},           {"WORLD_SIZE", "4"},
                 {"LOCAL_RANK", "1"},     {"LOCAL_WORLD_SIZE", "2"},
                 {"MASTER_ADDR", "head"}, {"MASTER_PORT", "29500"},
                 {"GRADWIRE_TOKEN", "t"}};
  EXPECT_THAT(find(v).addresses, ElementsAre("head"));
  EXPECT_EQ(find(v).port, 29500);
  v["TORCHELASTIC_RUN_ID"] = "none";
  EXPECT_NE(find(v).port, 29500);
}

TEST(Rendezvous, AMasterThatIsNoPlaceIsAnError) {
  Variables v = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", ""}, {"MASTER_PORT", "29500"}};
  const auto expect = [&](const char* message) {
    test::expect_error(ErrorKind::kUsage, message, [&] { find(v); });
  };
  expect("MASTER_ADDR='': expected the host of rank 0, or no such variable");
  v["MASTER_ADDR"] = " ";
  expect("MASTER_ADDR=' ': expected the host of rank 0");
  v["MASTER_ADDR"] = "head";
  for (const char* port : {"0", "", "70000", "80x", "-1"}) {
    v["MASTER_PORT"] = port;
    expect((std::string("MASTER_PORT='") + port + "': expected a port from 1 to 65535").c_str());
  }
  v["GRADWIRE_TOKEN"] = "t";
  CommRecipe recipe;
  recipe.address = "far:1234";  // is asked first
  EXPECT_EQ(find(v, recipe).port, 1234);
}

TEST(Rendezvous, RanksThatSrunStartsWithAnotherMpisPmi) {
  const auto check = [](const Variables& v, const char* backend, const char* mpi) {
    CommRecipe recipe;
    recipe.backend = backend;
    const EnvironmentLookup lookup = lookup_in(v);
    check_mpi_can_join(read_rank_environment(lookup), recipe, lookup, mpi);
  };
  const Variables pmi2 = {{"SLURM_STEP_ID", "0"},
                          {"SLURM_PROCID", "1"},
                          {"SLURM_NTASKS", "2"},
                          {"PMI_RANK", "1"},
                          {"PMI_SIZE", "2"}};
  for (const char* part : {"srun --mpi=pmix", "--set comm.backend=tcp", "Open MPI v4.1.4"})
    test::expect_error(ErrorKind::kUsage, part, [&] { check(pmi2, "auto", "Open MPI v4.1.4"); });
  EXPECT_NO_THROW(check(pmi2, "mpi", "Open MPI v4.1.4"));
  EXPECT_NO_THROW(check(pmi2, "auto", "MPICH Version: 4.0"));
  EXPECT_NO_THROW(check({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}, "auto", "Open MPI v4.1.4"));
  EXPECT_NO_THROW(check(kTwoHosts, "auto", "Open MPI v4.1.4"));
}

TEST(Rendezvous, RanksOfOneHostMeetOnLoopback) {
  const TcpOptions o = find({{"OMPI_COMM_WORLD_RANK", "1"},
                             {"OMPI_COMM_WORLD_SIZE", "2"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                             {"PMIX_NAMESPACE", "12345"}});
  EXPECT_THAT(o.addresses, ElementsAre("127.0.0.1"));
  EXPECT_EQ(o.token, "12345");
}

// Ranks that were started by hand have no name in common but what they write to.
TEST(Rendezvous, WithoutANameRanksOfOneHostKnowEachOtherByTheirFolder) {
  Variables v = {{"RANK", "1"},
                 {"WORLD_SIZE", "2"},
                 {"LOCAL_WORLD_SIZE", "2"},
                 {"MASTER_ADDR", "localhost"},
                 {"MASTER_PORT", "29500"}};
  const std::string token = find(v, CommRecipe{}, "runs/a").token;
  EXPECT_THAT(token, HasSubstr("/runs/a"));
  EXPECT_EQ(find(v, CommRecipe{}, "runs/b/../a").token, token);
  EXPECT_NE(find(v, CommRecipe{}, "runs/b").token, token);
  EXPECT_TRUE(find(v).one_host);
  v["GRADWIRE_TOKEN"] = "secret";
  EXPECT_EQ(find(v).token, "secret");
  v.erase("GRADWIRE_TOKEN");
  v["MASTER_ADDR"] = "head";  // elsewhere the folder may have another path
  for (const char* part : {"would meet at head without a token", "Set GRADWIRE_TOKEN",
                           "`gradwire launch` and examples/slurm.sbatch make one"})
    test::expect_error(ErrorKind::kUsage, part, [&] { find(v); });
  v["GRADWIRE_TOKEN"] = "";  // is none
  test::expect_error(ErrorKind::kUsage, "without a token", [&] { find(v); });
  v["WORLD_SIZE"] = v["LOCAL_WORLD_SIZE"] = "1";
  v["RANK"] = "0";
  EXPECT_NO_THROW(find(v));  // meets nobody
  EXPECT_FALSE(find(kTwoHosts).one_host);
}

TEST(Rendezvous, NeverGuesses) {
  const Variables two_hosts = {{"OMPI_COMM_WORLD_RANK", "1"},
                               {"OMPI_COMM_WORLD_SIZE", "2"},
                               {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                               {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}};
  test::expect_error(ErrorKind::kUsage,
                     "Open MPI does not say where rank 0 can be reached: set comm.address to its "
                     "HOST:PORT",
                     [&] { find(two_hosts); });
}

}  // namespace
}  // namespace gradwire
