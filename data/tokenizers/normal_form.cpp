#include "data/tokenizers/normal_form.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>

#include "core/error.h"
#include "core/printable.h"

namespace gradwire {
namespace {

using Form = const icu::Normalizer2* (*)(UErrorCode&);

void append_normalized(const icu::Normalizer2& form, std::string_view text, std::string& out) {
  if (text.empty()) return;
  UErrorCode status = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out);
  form.normalizeUTF8(0, {text.data(), static_cast<std::int32_t>(text.size())}, sink, nullptr,
                     status);
  check(U_SUCCESS(status) != 0, ErrorKind::kInternal,
        "a text cannot be brought into a normal form");
}

std::string normalized(Form form, std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const rules = form(status);
  check(U_SUCCESS(status) != 0, ErrorKind::kInternal, "ICU has no data of normal forms");
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = first_code_point(text.substr(at));
    if (point.bytes > 0) {
      at += point.bytes;
      continue;
    }
    append_normalized(*rules, text.substr(begin, at - begin), out);
    out.push_back(text[at++]);
    begin = at;
  }
  append_normalized(*rules, text.substr(begin), out);
  return out;
}

}  // namespace

std::string composed(std::string_view text) {
  return normalized([](UErrorCode& s) { return icu::Normalizer2::getNFCInstance(s); }, text);
}

std::string decomposed(std::string_view text) {
  return normalized([](UErrorCode& s) { return icu::Normalizer2::getNFDInstance(s); }, text);
}

}  // namespace gradwire
