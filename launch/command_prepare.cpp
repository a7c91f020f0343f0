#include <fmt/format.h>

#include "launch/commands.h"
#include "launch/console.h"
#include "launch/session.h"

namespace gradwire {

ExitCode run_prepare(const PrepareArgs& args) {
  Session session(args.recipe, "prepare");
  const PreparedText text =
      session.prepare([](const std::string& line) { console().say(line); }).value();
  if (session.is_first()) {
    fmt::print("{}: vocabulary {}, {} documents, {} training and {} validation tokens{}\n",
               session.recipe().data.cache, text.vocabulary, text.documents, text.train_tokens,
               text.valid_tokens, text.was_there ? ", up to date" : "");
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
