#include "recipe/field.h"

#include <limits>

#include <gtest/gtest.h>

#include "jobs/job_list.h"

namespace gradwire {
namespace {

TEST(Limits, AsText) {
  EXPECT_EQ(to_text(Limits{}), "");
  EXPECT_EQ(to_text(at_least(1)), ">= 1");
  EXPECT_EQ(to_text(greater_than(0.5)), "> 0.5");
  EXPECT_EQ(to_text(Limits{}.below(3)), "< 3");
  EXPECT_EQ(to_text(Limits{}.up_to(3)), "<= 3");
  EXPECT_EQ(to_text(greater_than(0).up_to(1)), "in (0, 1]");
  EXPECT_EQ(to_text(exactly(4)), "4");
  EXPECT_EQ(to_text(one_of({"a", "b"})), "one of 'a', 'b'");
  EXPECT_EQ(to_text(nonempty()), "not empty");
}

TEST(Limits, OpenAndClosedEnds) {
  EXPECT_FALSE(violation(0.0, at_least(0)));
  EXPECT_TRUE(violation(0.0, greater_than(0)));
  EXPECT_FALSE(violation(1.0, at_least(0).up_to(1)));
  EXPECT_TRUE(violation(1.0, at_least(0).below(1)));
  EXPECT_FALSE(violation(std::int64_t{1}, exactly(1)));
  EXPECT_TRUE(violation(std::int64_t{2}, exactly(1)));
}

TEST(Limits, NumbersAreFiniteEvenWithoutLimits) {
  EXPECT_TRUE(violation(std::numeric_limits<double>::infinity(), Limits{}));
  EXPECT_TRUE(violation(std::numeric_limits<double>::quiet_NaN(), Limits{}));
}

TEST(TomlText, NumbersStayNumbers) {
  EXPECT_EQ(toml_text(1.0), "1.0");
  EXPECT_EQ(toml_text(0.1), "0.1");
  EXPECT_EQ(toml_text(1e-8), "1e-08");
  EXPECT_EQ(toml_text(1e22), "1e+22");
  EXPECT_EQ(toml_text(std::int64_t{-3}), "-3");
}

TEST(TomlText, StringsAreEscaped) {
  EXPECT_EQ(toml_text(std::string_view("a\"b\\c\nd")), "\"a\\\"b\\\\c\\u000ad\"");
  EXPECT_EQ(toml_text(StringList{"a", "b"}), "[\"a\", \"b\"]");
}

TEST(EditDistance, CountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("warmpu", "warmup"), 1);
  EXPECT_EQ(edit_distance("same", "same"), 0);
}

TEST(Nearest, OnlyWhatIsNear) {
  const StringList words = {"steps", "eval_every", "lr"};
  EXPECT_EQ(nearest("step", words), "steps");
  EXPECT_EQ(nearest("evalevery", words), "eval_every");
  EXPECT_EQ(nearest("rl", words), "lr");
  EXPECT_EQ(nearest("momentum", words), std::nullopt);
}

TEST(NearestKey, SameSectionFirst) {
  const StringList keys = {"seed", "optim", "optim.lr", "train", "train.steps", "schedule.steps"};
  EXPECT_EQ(nearest_key("schedule.stesp", keys), "schedule.steps");
  EXPECT_EQ(nearest_key("optim.steps", keys), "train.steps");
  EXPECT_EQ(nearest_key("steps", keys), "train.steps");
  EXPECT_EQ(nearest_key("sead", keys), "seed");
  EXPECT_EQ(nearest_key("optim.unlike", keys), std::nullopt);
}

}  // namespace
}  // namespace gradwire
