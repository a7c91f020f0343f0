#include "comm/reducer/reducer.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

void Reducer::submit(Context& cx, std::size_t bucket, const Exchange& e) {
  if (!supports().contains(kind_of(e))) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: cannot exchange {}", name(), name_of(kind_of(e))));
  }
  check(bool(contribution_of(e).value), ErrorKind::kUsage, "reducer: an exchange without a value");
  if (e.reset_residuals) do_reset_residuals(cx, bucket);
  do_submit(cx, bucket, e);
}

}  // namespace gradwire
