// The part of a recipe that belongs to its task alone. A recipe has sections that every job has
// (recipe/recipe.h), and those that the job named by `task` brings: its model, its data, what it
// does with them.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "recipe/problems.h"
#include "recipe/visitor.h"

namespace gradwire {

struct Recipe;

// Whether the files that a job trains on have to be there.
enum class Inputs : std::uint8_t { kNeeded, kNotNeeded };

class JobSections {
 public:
  virtual ~JobSections() = default;
  // Lists the keys, each in a section.
  virtual void fields(FieldVisitor& v) = 0;
  virtual std::unique_ptr<JobSections> clone() const = 0;
  // Writes out the defaults that follow from other keys, so that recipes compare.
  virtual void resolve_defaults() {}
  // Gives keys that the recipe leaves out the values that follow from files it names, once all of
  // it has been read, with values in range. `origins` says which keys it sets. Errors: kData and
  // kIo for files that do not serve; what contradicts them is a problem of the recipe.
  virtual void complete(const Origins& /*origins*/, ProblemList& /*out*/) {}
  // The rules between keys, and what must exist on this host. Only called on values that are in
  // range, for a run of so many ranks.
  virtual void check(const Recipe& /*recipe*/, int /*ranks*/, Inputs /*inputs*/,
                     ProblemList& /*out*/) const {}
};

// A job that a recipe's `task` can name.
struct JobKind {
  const char* name;
  const char* doc;  // a sentence for the reference of keys
  std::unique_ptr<JobSections> (*sections)();
};

// The sections of a recipe's job as a value: a copy has its own.
class JobPart {
 public:
  JobPart() = default;  // of no job
  explicit JobPart(std::span<const JobKind> known, const JobKind& kind)
      : known_(known), kind_(&kind), sections_(kind.sections()) {}
  JobPart(const JobPart& other) { *this = other; }
  JobPart(JobPart&&) noexcept = default;
  JobPart& operator=(const JobPart& other) {
    known_ = other.known_;
    kind_ = other.kind_;
    sections_ = other.sections_ ? other.sections_->clone() : nullptr;
    return *this;
  }
  JobPart& operator=(JobPart&&) noexcept = default;

  // Both null for a recipe of no job.
  JobSections* sections() const { return sections_.get(); }
  const JobKind* kind() const { return kind_; }
  // The jobs that there are, and the names that `task` may have.
  std::span<const JobKind> known() const { return known_; }
  std::vector<std::string_view> choices() const;

 private:
  std::span<const JobKind> known_;
  const JobKind* kind_ = nullptr;
  std::unique_ptr<JobSections> sections_;
};

}  // namespace gradwire
