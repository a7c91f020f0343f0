#include "data/chat_template.h"

#include <cctype>

#include "core/error.h"

namespace gradwire {
namespace {

using Kind = TemplatePart::Kind;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void append(std::vector<TemplatePart>& parts, Kind kind, std::string text) {
  if (text.empty()) return;
  if (kind == Kind::kText && !parts.empty() && parts.back().kind == Kind::kText) {
    parts.back().text += text;
  } else {
    parts.push_back({kind, std::move(text)});
  }
}

char unescaped(char after_backslash) {
  return after_backslash == 'n'   ? '\n'
         : after_backslash == 't' ? '\t'
         : after_backslash == 'r' ? '\r'
                                  : after_backslash;
}

// The end of the literal that begins at `at`, whose value goes to `value`.
std::size_t read_literal(std::string_view code, std::size_t at, std::string& value) {
  const char quote = code[at++];
  for (; at < code.size() && code[at] != quote; ++at) {
    const bool escaped = code[at] == '\\' && at + 1 < code.size();
    value.push_back(escaped ? unescaped(code[++at]) : code[at]);
  }
  check(at < code.size(), ErrorKind::kData, "chat template: a quote is not closed");
  return at + 1;
}

// message.role, which is followed by no name character.
void use_brackets(std::string& code) {
  for (const std::string name : {"role", "content"}) {
    const std::string dotted = "message." + name;
    for (std::size_t at = 0; (at = code.find(dotted, at)) != std::string::npos;) {
      const std::size_t end = at + dotted.size();
      const bool longer =
          end < code.size() &&
          (std::isalnum(static_cast<unsigned char>(code[end])) != 0 || code[end] == '_');
      if (!longer) code.replace(at, dotted.size(), "message['" + name + "']");
      at = end;
    }
  }
}

// An expression or a statement, cut at each + outside brackets; operands that are one literal are
// texts.
void read_code(std::string_view code, Kind kind, std::vector<TemplatePart>& parts) {
  std::string operand, literal;
  bool is_literal = false;
  const auto finish = [&] {
    use_brackets(operand);
    if (is_literal && kind == Kind::kValue) {
      append(parts, Kind::kText, literal);
    } else {
      append(parts, kind, operand);
    }
    operand.clear();
    literal.clear();
    is_literal = false;
  };
  int depth = 0;
  for (std::size_t at = 0; at < code.size();) {
    const char c = code[at];
    if (c == '\'' || c == '"') {
      is_literal = operand.empty();
      std::string value;
      at = read_literal(code, at, value);
      literal = value;
      operand += "'" + value + "'";
      continue;
    }
    ++at;
    if (is_space(c)) continue;
    depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
    if (c == '+' && depth == 0 && kind == Kind::kValue) {
      finish();
    } else {
      is_literal = false;
      operand.push_back(c);
    }
  }
  finish();
}

void trim_end(std::string& text, bool whole_lines) {
  std::size_t size = text.size();
  while (size > 0 && is_space(text[size - 1]) && (whole_lines || text[size - 1] != '\n'))
    --size;
  const bool at_line_begin = size == 0 || text[size - 1] == '\n';
  if (whole_lines || at_line_begin) text.resize(size);
}

// The first "{{", "{%" or "{#" from `at` on; the text's size if there is none.
std::size_t next_tag(std::string_view jinja, std::size_t at) {
  constexpr std::string_view kSigns = "{%#";
  for (; at + 1 < jinja.size(); ++at)
    if (jinja[at] == '{' && kSigns.find(jinja[at + 1]) != std::string_view::npos) return at;
  return jinja.size();
}

}  // namespace

std::vector<TemplatePart> parts_of_template(std::string_view jinja) {
  std::vector<TemplatePart> parts;
  if (jinja.ends_with('\n')) jinja.remove_suffix(1);  // Jinja keeps it no more
  std::size_t at = 0;
  while (at < jinja.size()) {
    const std::size_t open = next_tag(jinja, at);
    if (open >= jinja.size()) {
      append(parts, Kind::kText, std::string(jinja.substr(at)));
      break;
    }
    const char sign = jinja[open + 1];
    const std::string closing = sign == '{' ? "}}" : std::string(1, sign) + "}";
    const std::size_t close = jinja.find(closing, open + 2);
    check(close != std::string_view::npos, ErrorKind::kData, "chat template: a tag is not closed");
    std::string before(jinja.substr(at, open - at));
    std::string_view code = jinja.substr(open + 2, close - open - 2);
    const bool cuts_before = code.starts_with('-');
    if (cuts_before) code.remove_prefix(1);
    const bool cuts_after = code.ends_with('-');
    if (cuts_after) code.remove_suffix(1);
    if (cuts_before || sign != '{') trim_end(before, cuts_before);
    append(parts, Kind::kText, std::move(before));
    if (sign != '#') read_code(code, sign == '{' ? Kind::kValue : Kind::kStatement, parts);
    at = close + closing.size();
    if (cuts_after) {
      while (at < jinja.size() && is_space(jinja[at]))
        ++at;
    } else if (sign != '{' && at < jinja.size() && jinja[at] == '\n') {
      ++at;
    }
  }
  return parts;
}

}  // namespace gradwire
