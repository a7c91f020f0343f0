// Decoders of other programs beside what transformers computes with them
// (tests/models/golden/make_decoders.py).
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/formats/decoder_format.h"

namespace gradwire {
namespace {

const std::string kGolden = GW_TEST_MODELS "/golden/";

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, LogitsAreThoseOfTransformers) {
  const auto expected = nlohmann::json::parse(std::ifstream(kGolden + "logits.json"))[GetParam()];
  const ForeignDecoder source = ForeignDecoder::open(kGolden + GetParam());
  source.check_tensors();
  Runtime runtime;
  Context& cx = runtime.context();
  DecoderLm model(cx, source.config());
  source.load(cx, model);
  const auto ids = expected["ids"].get<std::vector<std::int32_t>>();
  Tape tape(/*recording=*/false);
  const Var logits = model.logits(cx, tape, Tensor::from(cx, {1, std::ssize(ids)}, ids));
  const std::vector<float> found = tape.value(logits).to_host<float>(cx);
  std::size_t at = 0;
  double largest = 0.0;
  for (const auto& row : expected["logits"]) {
    for (const double value : row) {
      largest = std::max(largest, std::abs(value));
      EXPECT_NEAR(found.at(at), value, 2e-5) << "position " << at / row.size();
      ++at;
    }
  }
  EXPECT_EQ(at, found.size());
  EXPECT_GT(largest, 0.5);  // else all would be near
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, ::testing::Values("llama", "mistral", "qwen2", "qwen3"),
                         [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace gradwire
