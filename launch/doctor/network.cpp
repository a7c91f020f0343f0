#include <array>
#include <fstream>
#include <memory>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "launch/doctor/doctor.h"

namespace gradwire {
namespace {

// "" if the driver does not know, as for virtual interfaces.
std::string speed(const char* interface) {
  int megabits = 0;
  std::ifstream(fmt::format("/sys/class/net/{}/speed", interface)) >> megabits;
  return megabits > 0 ? fmt::format(", {} Mbit/s", megabits) : "";
}

}  // namespace

Findings check_network() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {{Verdict::kWarn, "network", "interfaces unknown", ""}};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  Findings out;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    const bool up = (i->ifa_flags & IFF_UP) != 0 && (i->ifa_flags & IFF_LOOPBACK) == 0;
    if (!up || i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    const auto* address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
    inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
    out.push_back({Verdict::kOk, fmt::format("network {}", i->ifa_name),
                   fmt::format("{}{}", text.data(), speed(i->ifa_name)), ""});
  }
  if (out.empty()) {
    return {{Verdict::kWarn, "network", "only the loopback interface is up",
             "ranks can meet on this host only"}};
  }
  if (out.size() > 1) {
    out.push_back({Verdict::kOk, "network", "several interfaces",
                   "where ranks do not meet, name the right one: "
                   "mpirun --mca btl_tcp_if_include IF --mca oob_tcp_if_include IF"});
  }
  return out;
}

}  // namespace gradwire
