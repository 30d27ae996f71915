#include "front/packetdrill/flags.hpp"

#include <algorithm>
#include <bit>
#include <charconv>

namespace tidewire::packetdrill {
namespace {

constexpr std::string_view known =
    "local, netmask, gateway, remote, mtu, sysctl_file, counters_file, trace";

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "255.255.0.0" or "16".
std::optional<std::uint8_t> prefix_of(std::string_view text) {
  if (const auto bits = number(text); bits && *bits <= 128) {
    return static_cast<std::uint8_t>(*bits);
  }
  const auto mask = parse_ip(text);
  if (!mask || !mask->is_v4()) return std::nullopt;
  const auto bits = static_cast<std::uint8_t>(std::countl_one(mask->v4_value()));
  const std::uint32_t whole = bits == 0 ? 0 : ~std::uint32_t{0} << (32 - bits);
  if (mask->v4_value() != whole) return std::nullopt;
  return bits;
}

bool set_address(IpAddress& out, std::string_view text) {
  const auto address = parse_ip(text);
  if (!address) return false;
  out = *address;
  return true;
}

bool set_address(std::optional<IpAddress>& out, std::string_view text) {
  return set_address(out.emplace(), text);
}

bool set(Flags& flags, std::string_view key, std::string_view value) {
  if (key == "local") return set_address(flags.local, value);
  if (key == "gateway") return set_address(flags.gateway, value);
  if (key == "remote") return set_address(flags.remote, value);
  if (key == "sysctl_file") {
    flags.sysctl_file = value;
    return !value.empty();
  }
  if (key == "counters_file") {
    flags.counters_file = value;
    return !value.empty();
  }
  if (key == "trace") {
    flags.trace = value == "1";
    return value == "0" || value == "1";
  }
  if (key == "netmask") {
    const auto bits = prefix_of(value);
    if (bits) flags.prefix_len = *bits;
    return bits.has_value();
  }
  const auto mtu = number(value);  // key == "mtu"
  if (mtu) flags.mtu = *mtu;
  return mtu && *mtu >= 68 && *mtu <= 65'535;
}

bool is_known(std::string_view key) {
  for (const std::string_view name :
       {"local", "netmask", "gateway", "remote", "mtu", "sysctl_file", "counters_file", "trace"}) {
    if (key == name) return true;
  }
  return false;
}

}  // namespace

Result<Flags, std::string> parse_flags(std::string_view text) {
  Flags flags;
  bool local = false;
  bool netmask = false;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    if (!is_known(key)) {
      return fail("unknown key '" + std::string(key) +
                  "' in --so_flags (known: " + std::string(known) + ")");
    }
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view{} : item.substr(equals + 1);
    if (!set(flags, key, value)) {
      return fail("--so_flags: '" + std::string(value) + "' is no value for " + std::string(key));
    }
    local = local || key == "local";
    netmask = netmask || key == "netmask";
  }
  if (!local)
    return fail(std::string("--so_flags needs local=ADDRESS (keys: ") + std::string(known) + ")");
  if (!netmask) flags.prefix_len = flags.local.is_v4() ? 24 : 64;
  if (flags.local.is_v4() && flags.prefix_len > 32) {
    return fail(std::string("--so_flags: netmask is longer than the address"));
  }
  return flags;
}

}  // namespace tidewire::packetdrill
