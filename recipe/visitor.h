// How the keys of a recipe are walked. Every struct of keys has one list of them, fields(v), which
// calls
//   v("lr", lr, "peak learning rate", greater_than(0.0));
// for each, and the reader, the writer, the range check and the documentation are visitors over
// that list. A key is a whole number, a number, a switch, a string or a list of strings.
#pragma once

#include <string>
#include <variant>

#include "recipe/field.h"

namespace gradwire {

using FieldRef =
    std::variant<std::int64_t*, double*, bool*, std::string*, StringList*>;  // never null

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  template <class T>
  void operator()(const char* name, T& value, const char* doc, const Limits& limits = {}) {
    field(prefix_ + name, &value, doc, limits);
  }

  // The keys of `keys.fields(v)` belong to the section [name].
  template <class Keys>
  void section(const char* name, Keys& keys, const char* doc) {
    begin_section(name, doc);
    prefix_ = std::string(name) + '.';
    keys.fields(*this);
    prefix_.clear();
  }

 protected:
  // `key` is the full name, such as "optim.lr".
  virtual void field(const std::string& key, FieldRef value, const char* doc,
                     const Limits& limits) = 0;
  virtual void begin_section(const std::string& /*name*/, const char* /*doc*/) {}

 private:
  std::string prefix_;
};

}  // namespace gradwire
