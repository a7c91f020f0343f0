// Every recipe that is shipped is one that runs.
#include <gtest/gtest.h>

#include "launch/assemble/validate.h"
#include "tests/support/recipe_files.h"

namespace gradwire {
namespace {

std::vector<std::string> recipes() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(GW_SOURCE_DIR "/examples")) {
    if (entry.path().extension() == ".toml") out.push_back(entry.path().string());
  }
  return out;
}

class Examples : public RecipeFiles {};

TEST_F(Examples, AreValidOnOneTwoAndFourReplicas) {
  ASSERT_FALSE(recipes().empty());
  for (const std::string& file : recipes()) {
    Recipe r = load_recipe(file, {"model.from=\"\""});  // models of others are not shipped
    lm(r).data.text = {write("a.txt", "text\n")};       // theirs are made by scripts
    if (lm(r).adapters.is_used()) lm(r).adapters.base = GW_SOURCE_DIR;  // or by training
    for (const int replicas : {1, 2, 4}) {
      const int ranks = replicas * static_cast<int>(r.parallel.pipeline);
      EXPECT_NO_THROW(validate(r, ranks)) << file << ", " << ranks << " ranks";
    }
  }
}

}  // namespace
}  // namespace gradwire
