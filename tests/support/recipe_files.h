// Files for tests of recipes: a folder for each test, and the problems that reading a recipe in
// it gives, as text.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/recipes.h"
#include "tests/support/temp_folder.h"

namespace gradwire {

class RecipeFiles : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.file(name); }
  std::string write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text);
  }

  static std::string content(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }

  // The problems of reading `text`, one a line, the file's name cut to "r:".
  std::string problems(const std::string& text, const std::vector<std::string>& set = {}) const {
    const std::string file = write("recipe.toml", text);
    try {
      load_recipe(file, set);
      return "";
    } catch (const RecipeError& e) {
      return shorten(e, file);
    }
  }

  static std::string shorten(const RecipeError& e, const std::string& file) {
    std::string out;
    for (const Problem& p : e.problems()) {
      std::string line = to_text(p);
      if (line.starts_with(file)) line.replace(0, file.size(), "r");
      out += (out.empty() ? "" : "\n") + line;
    }
    return out;
  }

  test::TempFolder folder_;
};

}  // namespace gradwire
