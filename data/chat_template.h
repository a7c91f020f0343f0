// What a chat template (in the language Jinja) consists of, as far as is needed to tell which of a
// few known formats it writes. Nothing of it is run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

struct TemplatePart {
  enum class Kind {
    kText,       // written as it is; text of literals within expressions, too
    kValue,      // an expression that is written, without spaces: message['content']
    kStatement,  // what steers, without spaces: formessageinmessages
  };
  Kind kind;
  std::string text;
  bool operator==(const TemplatePart&) const = default;
};

// The parts in order; texts that follow each other are one. Blocks take the space around them as
// templates of conversations are rendered: the line end after a statement and the indentation
// before one are left out, and so is what "{%-" and "-%}" ask for. Quotes are ' and message.role is
// message['role'] whichever way they are written; comments are left out.
// Errors: kData for a tag that is not closed.
std::vector<TemplatePart> parts_of_template(std::string_view jinja);

}  // namespace gradwire
