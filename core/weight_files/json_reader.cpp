#include "core/weight_files/json_reader.h"

#include <set>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"

namespace gradwire {

nlohmann::json read_json_object(const std::string& what, std::string_view text, int deepest) {
  using Event = nlohmann::json::parse_event_t;
  const auto refuse = [&what](const std::string& why) {
    throw Error(ErrorKind::kData, fmt::format("{}: {}", what, printable(why, 256)));
  };
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Event event, nlohmann::json& value) {
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= deepest) refuse(fmt::format("nested deeper than {}", deepest));
      if (event == Event::object_start) keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      refuse(fmt::format("'{}' appears twice", value.get<std::string>()));
    }
    return true;
  };
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& e) {
    refuse(e.what());
  }
  if (!parsed.is_object()) refuse("not a JSON object");
  return parsed;
}

}  // namespace gradwire
