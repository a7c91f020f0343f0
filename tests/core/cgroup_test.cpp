#include "core/cgroup.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

// A machine's /proc and /sys below a folder.
class Cgroup : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_.file(path)).parent_path());
    root_.write(path, text);
  }
  void unified(const std::string& group, const std::string& top = "/") {
    write("proc/self/cgroup", "0::" + group + "\n");
    write("proc/self/mountinfo",
          "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
          "29 22 0:26 " +
              top +
              " /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 "
              "rw,nsdelegate\n");
  }
  void version1(const std::string& cpu, const std::string& memory, const std::string& top) {
    write("proc/self/cgroup", "5:cpu,cpuacct:" + cpu + "\n4:memory:" + memory +
                                  "\n3:cpuset:/\n1:name=systemd:/x\n0::/x\n");
    write("proc/self/mountinfo",
          "32 31 0:29 " + top +
              " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "35 31 0:32 " +
              top +
              " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
              "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }
  CgroupLimits limits() const { return cgroup_limits(root_.path().string()); }

  test::TempFolder root_;
};

TEST_F(Cgroup, MachineWithoutGroupsHasNoLimits) {
  EXPECT_FALSE(limits().cpus);
  EXPECT_FALSE(limits().memory_bytes);
  EXPECT_EQ(limits().cpu_group, "");
}

TEST_F(Cgroup, LeastLimitOfAllAncestorsHolds) {
  unified("/job/step/task");
  write("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/job/step/task/cpu.max", "400000 100000\n");
  write("sys/fs/cgroup/job/memory.max", "max\n");
  write("sys/fs/cgroup/job/step/memory.max", "2000000000\n");
  write("sys/fs/cgroup/job/step/task/memory.max", "3000000000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 1.5);
  EXPECT_EQ(limits().memory_bytes.value(), 2'000'000'000);
}

TEST_F(Cgroup, GroupOfTheLimitIsTheSameForAllBelowIt) {
  write("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/job/a/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/job/b/cpu.max", "100000 100000\n");
  unified("/job/a");
  const std::string a = limits().cpu_group;
  unified("/job");
  EXPECT_EQ(limits().cpu_group, a);
  unified("/job/b");
  EXPECT_NE(limits().cpu_group, a);
}

TEST_F(Cgroup, UnlimitedIsNoLimit) {
  unified("/job");
  write("sys/fs/cgroup/job/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/job/memory.max", "max\n");
  EXPECT_FALSE(limits().cpus);
  EXPECT_FALSE(limits().memory_bytes);
}

TEST_F(Cgroup, TopOfTheMountIsTakenOutOfThePath) {
  unified("/docker/abc/part", "/docker/abc");
  write("sys/fs/cgroup/part/cpu.max", "200000 100000\n");
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 0.5);
}

TEST_F(Cgroup, ContainerThatSeesOnlyItsOwnGroup) {
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  for (const char* path : {"/", "/../outside", "/docker/other"}) {
    unified(path, path[1] == 'd' ? "/docker/abc" : "/");
    EXPECT_DOUBLE_EQ(limits().cpus.value(), 0.5) << path;
  }
}

TEST_F(Cgroup, Version1BesideAnEmptyVersion2) {
  version1("/job/task", "/job", "/");
  write("sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/task/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 2.5);
  EXPECT_EQ(limits().memory_bytes.value(), 4'000'000'000);
}

TEST_F(Cgroup, Version1InAContainer) {
  version1("/docker/abc", "/docker/abc", "/docker/abc");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 1.0);
}

TEST_F(Cgroup, BlanksInPathsAreUnescaped) {
  write("proc/self/cgroup", "0::/a b\n");
  write("proc/self/mountinfo", "29 22 0:26 / /sys/my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("sys/my groups/a b/cpu.max", "300000 100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 3.0);
}

TEST_F(Cgroup, WhatCannotBeUnderstoodLimitsNothing) {
  write("proc/self/cgroup", "\n0:\n:::\n0::/job\n");
  write("proc/self/mountinfo",
        "29\n\n29 22 0:26 / /sys/fs/cgroup rw -\n- - - - - - -\n"
        "29 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  for (const char* text : {"", "x", "100000", "100000 0", "-5 100000"}) {
    write("sys/fs/cgroup/job/cpu.max", text);
    EXPECT_FALSE(limits().cpus) << text;
  }
  write("sys/fs/cgroup/job/cpu.max", "100000 100000");
  EXPECT_TRUE(limits().cpus);
}

}  // namespace
}  // namespace gradwire
