#include "parallel/pipeline/timeline.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "parallel/pipeline/dry_run.h"

namespace gradwire {
namespace {

// Rank 0 computes for 1 s and 2 s, rank 1 for 1.5 s, within 4 s; messages do not count.
std::vector<TimelineEvent> small() {
  return {{0, {Act::kForward, 0, 3}, 10.0, 11.0},
          {0, {Act::kSendResult, 0, 3}, 11.0, 12.0},
          {0, {Act::kBackward, 2, 3}, 12.0, 14.0},
          {1, {Act::kBackwardWeight, 1, 3}, 11.5, 13.0}};
}

int count(std::string_view text, std::string_view what) {
  int n = 0;
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1))
    ++n;
  return n;
}

TEST(Timeline, BubbleIsWhatRanksDoNotCompute) {
  EXPECT_DOUBLE_EQ(bubble_share(small()), 1 - 4.5 / 8.0);
  std::vector<TimelineEvent> with_reduction = small();
  with_reduction.push_back({0, {Act::kReduce, 0, 0}, 14.0, 20.0});
  EXPECT_DOUBLE_EQ(bubble_share(with_reduction), 1 - 4.5 / 8.0);
  EXPECT_EQ(bubble_share({}), 0.0);
  const DryRun d = dry_run(with_messages(one_f_one_b(4, 8)), SendModel::kGrouped);
  EXPECT_NEAR(bubble_share(d.timeline), 3.0 / 11.0, 1e-12);
}

TEST(Timeline, ChromeTraceHasEveryEventInMicroseconds) {
  const auto trace = nlohmann::json::parse(to_chrome_trace(small()));
  const auto& events = trace.at("traceEvents");
  ASSERT_EQ(events.size(), 2u + 4u);
  EXPECT_EQ(events[1].at("args").at("name"), "rank 1");
  const auto& send = events[3];
  EXPECT_EQ(send.at("ph"), "X");
  EXPECT_EQ(send.at("name"), "0F3>");
  EXPECT_EQ(send.at("cat"), "send");
  EXPECT_EQ(send.at("tid"), 0);
  EXPECT_DOUBLE_EQ(send.at("ts"), 11e6);
  EXPECT_DOUBLE_EQ(send.at("dur"), 1e6);
  const std::vector<TimelineSpan> others = {{1, "update", 14.0, 14.5}};
  const auto with_update = nlohmann::json::parse(to_chrome_trace(small(), others));
  const auto& update = with_update.at("traceEvents").back();
  EXPECT_EQ(update.at("name"), "update");
  EXPECT_EQ(update.at("tid"), 1);
  EXPECT_DOUBLE_EQ(update.at("dur"), 0.5e6);
  EXPECT_EQ(nlohmann::json::parse(to_chrome_trace({})).at("traceEvents").size(), 0u);
}

TEST(Timeline, SvgPlacesBoxesByTime) {
  const std::string svg = to_svg(small(), "a < b & c");
  EXPECT_NE(svg.find(">a &lt; b &amp; c</text>"), std::string::npos);
  EXPECT_NE(svg.find(">bubble 43.8 %</text>"), std::string::npos);
  EXPECT_EQ(count(svg, "<title>"), 4);
  EXPECT_EQ(count(svg, ">3</text>"), 3);  // the micro-batch, in each box
  // 860 pixels for 4 s from x = 72 on: the backward from 2 s takes the second half, half a pixel
  // apart from its neighbours.
  EXPECT_NE(svg.find("<rect x=\"502.50\" y=\"56.0\" width=\"429.00\" height=\"24.0\""),
            std::string::npos);
  EXPECT_EQ(count(svg, ">message</text>"), 1);
  EXPECT_EQ(count(svg, ">weight gradient</text>"), 1);
  EXPECT_EQ(count(svg, ">input gradient</text>"), 0);
  EXPECT_EQ(count(svg, "paler"), 1);  // stage 2 is rank 0's second
  EXPECT_EQ(count(svg, "<svg"), count(svg, "</svg>"));
}

// A picture of nothing, and one of a single moment, are pictures.
TEST(Timeline, SvgOfNoTime) {
  EXPECT_NE(to_svg({}, "nothing").find("bubble 0.0 %"), std::string::npos);
  const std::vector<TimelineEvent> moment = {{0, {Act::kForward, 0, 0}, 1.0, 1.0}};
  const std::string svg = to_svg(moment, "moment");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

}  // namespace
}  // namespace gradwire
