// A recipe file: parsed, read, and shown with all that is wrong with it. Sections of a job are the
// job's own, and read by the same reader: a small job stands for all.
#include "tests/fuzz/harness.h"

#include "recipe/problems.h"
#include "recipe/recipe_io.h"

namespace {

struct Toy final : gradwire::JobSections {
  std::string model = "small";
  gradwire::StringList files;
  void fields(gradwire::FieldVisitor& v) override {
    v.begin_section("toy", "A job.");
    v.field("toy.model", &model, "Its size.", gradwire::one_of({"small", "large"}));
    v.field("toy.files", &files, "Its files.", gradwire::Limits().path({"job", "host"}));
  }
  std::unique_ptr<gradwire::JobSections> clone() const override {
    return std::make_unique<Toy>(*this);
  }
};

constexpr gradwire::JobKind kJobs[] = {
    {"toy", "A job.",
     []() -> std::unique_ptr<gradwire::JobSections> { return std::make_unique<Toy>(); }}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return gradwire::fuzz::run(data, size, [](std::string_view bytes) {
    gradwire::saved_recipe(std::string(bytes), kJobs);
    const gradwire::fuzz::MemoryFile file(bytes);
    const gradwire::Recipe recipe = gradwire::load_recipe(file.path(), {}, kJobs);
    const gradwire::fuzz::MemoryFile again(gradwire::to_toml(recipe));
    if (!(gradwire::load_recipe(again.path(), {}, kJobs) == recipe)) std::abort();
  });
}
