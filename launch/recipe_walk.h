// The part that visitors over a recipe share: the dotted name of the key at hand. A visitor derives
// from KeyWalk<itself> and defines
//   template <class T> void field(const std::string& key, T&, const char* doc, const Limits&);
// and, where sections matter to it, begin_section() and end_section().
#pragma once

#include <string>

#include "launch/field.h"

namespace gradwire {

template <class Self>
class KeyWalk {
 public:
  template <class T>
  void operator()(const char* name, T& value, const char* doc, const Limits& limits = {}) {
    self().field(prefix_ + name, value, doc, limits);
  }

  template <class S>
  void section(const char* name, S& s, const char* doc) {
    self().begin_section(name, doc);
    prefix_ = std::string(name) + '.';
    s.fields(self());
    prefix_.clear();
  }

  void begin_section(const char* /*name*/, const char* /*doc*/) {}

 private:
  Self& self() { return static_cast<Self&>(*this); }
  std::string prefix_;
};

}  // namespace gradwire
