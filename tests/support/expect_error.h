// Expects an Error of a kind, whose message contains a fragment.
#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/error.h"

namespace gradwire::test {

template <class F>
void expect_error(ErrorKind kind, std::string_view fragment, const F& f) {
  try {
    f();
    ADD_FAILURE() << "no error; expected one about: " << fragment;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    EXPECT_NE(std::string_view(e.what()).find(fragment), std::string_view::npos) << e.what();
  }
}

}  // namespace gradwire::test
