#include <charconv>
#include <optional>
#include <vector>

#include "front/gateway/publish.hpp"

namespace tidewire::gateway {

namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return port;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    // [::1] keeps its colons.
    const std::size_t from = text.starts_with('[') ? text.find(']') : 0;
    const std::size_t colon = from == std::string_view::npos ? from : text.find(':', from);
    parts.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    text.remove_prefix(colon + 1);
  }
}

std::optional<IpAddress> parse_host(std::string_view text) {
  if (text == "localhost") return IpAddress::loopback(Family::v4);
  if (text == "*") return IpAddress::any(Family::v4);
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  return parse_ip(text);
}

}  // namespace

Result<PublishSpec, std::string> parse_publish(std::string_view text) {
  const auto wrong = [&](const std::string& why) {
    return fail("--publish " + std::string(text) + ": " + why +
                "; the form is [ADDR:]HOSTPORT:PORT[/udp], for example 8080:80 or "
                "0.0.0.0:5353:53/udp");
  };
  PublishSpec spec;
  std::string_view rest = text;
  if (const std::size_t slash = rest.rfind('/'); slash != std::string_view::npos) {
    const std::string_view protocol = rest.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp") {
      return wrong("'" + std::string(protocol) + "' is neither tcp nor udp");
    }
    if (protocol == "udp") spec.protocol = Protocol::udp;
    rest = rest.substr(0, slash);
  }
  std::vector<std::string_view> parts = split(rest);
  if (parts.size() < 2) return wrong("two ports are needed");
  if (parts.size() > 4) return wrong("too many parts");

  const auto port = parse_port(parts.back());
  if (!port || *port == 0) return wrong("'" + std::string(parts.back()) + "' is no port");
  spec.target.port = *port;
  parts.pop_back();
  if (parts.size() > 1 && !parse_port(parts.back())) {
    const auto target = parse_host(parts.back());
    if (!target) return wrong("'" + std::string(parts.back()) + "' is no address");
    spec.target.address = *target;
    parts.pop_back();
  }
  const auto host_port = parse_port(parts.back());
  if (!host_port) return wrong("'" + std::string(parts.back()) + "' is no port");
  spec.host.port = *host_port;
  parts.pop_back();
  if (parts.size() == 1) {
    const auto address = parse_host(parts.front());
    if (!address) return wrong("'" + std::string(parts.front()) + "' is no address");
    spec.host.address = *address;
  } else if (!parts.empty()) {
    return wrong("too many parts");
  }
  return spec;
}

std::string to_string(const PublishSpec& spec) {
  std::string text = tidewire::to_string(spec.host) + ":";
  if (!spec.target.address.is_unspecified()) {
    text += tidewire::to_string(spec.target.address) + ":";
  }
  text += std::to_string(spec.target.port);
  if (spec.protocol == Protocol::udp) text += "/udp";
  return text;
}

}  // namespace tidewire::gateway
