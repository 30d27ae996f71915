#include "wire/address.hpp"

#include <charconv>

namespace tidewire {
namespace {

constexpr std::size_t bit_width_of(Family family) noexcept {
  return family == Family::v4 ? 32 : 128;
}

/// The octet at `index` of a mask of `prefix_len` leading ones.
constexpr std::uint8_t mask_octet(std::size_t prefix_len, std::size_t index) noexcept {
  const std::size_t start = index * 8;
  if (prefix_len >= start + 8) return 0xff;
  if (prefix_len <= start) return 0;
  return static_cast<std::uint8_t>(0xff00U >> (prefix_len - start));
}

constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Consumes a decimal number of at most `max` from the front: no sign, no leading zeros.
std::optional<std::uint32_t> take_decimal(std::string_view& text, std::uint32_t max) noexcept {
  std::uint64_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    value = value * 10 + static_cast<std::uint64_t>(text[digits] - '0');
    if (value > max) return std::nullopt;
    ++digits;
  }
  if (digits == 0 || (digits > 1 && text[0] == '0')) return std::nullopt;
  text.remove_prefix(digits);
  return static_cast<std::uint32_t>(value);
}

std::optional<std::uint32_t> whole_decimal(std::string_view text, std::uint32_t max) noexcept {
  const auto value = take_decimal(text, max);
  return text.empty() ? value : std::nullopt;
}

bool take(std::string_view& text, std::string_view what) noexcept {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

std::optional<IpAddress> parse_v4(std::string_view text) noexcept {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && !take(text, ".")) return std::nullopt;
    const auto octet = take_decimal(text, 255);
    if (!octet) return std::nullopt;
    value = value << 8 | *octet;
  }
  if (!text.empty()) return std::nullopt;
  return IpAddress::v4(value);
}

/// Consumes one to four hexadecimal digits.
std::optional<std::uint16_t> take_group(std::string_view& text) noexcept {
  std::uint32_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && digits < 4 && hex_digit(text[digits]) >= 0) {
    value = value << 4 | static_cast<std::uint32_t>(hex_digit(text[digits]));
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return static_cast<std::uint16_t>(value);
}

/// Groups of an IPv6 address while they are being collected.
struct Groups {
  std::array<std::uint16_t, 8> value{};
  std::size_t count = 0;
  std::optional<std::size_t> gap;  ///< index at which "::" stood

  bool add(std::uint16_t group) noexcept {
    if (count == 8) return false;
    value[count++] = group;
    return true;
  }
};

std::optional<IpAddress> assemble(const Groups& groups) noexcept {
  if (groups.gap ? groups.count > 7 : groups.count != 8) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  const std::size_t before = groups.gap.value_or(groups.count);
  for (std::size_t i = 0; i < groups.count; ++i) {
    const std::size_t at = i < before ? i : 8 - groups.count + i;
    octets[2 * at] = static_cast<std::uint8_t>(groups.value[i] >> 8);
    octets[2 * at + 1] = static_cast<std::uint8_t>(groups.value[i]);
  }
  return IpAddress::v6(octets);
}

// RFC 4291 §2.2: eight groups, one "::", the last two groups may be dotted decimal.
std::optional<IpAddress> parse_v6(std::string_view text) noexcept {
  Groups groups;
  if (take(text, "::")) {
    groups.gap = 0;
    if (text.empty()) return assemble(groups);
  }
  while (true) {
    const std::string_view rest = text;
    const auto group = take_group(text);
    if (!group) return std::nullopt;
    if (text.starts_with('.')) {
      const auto tail = parse_v4(rest);
      if (!tail) return std::nullopt;
      const std::uint32_t v = tail->v4_value();
      const bool fits = groups.add(static_cast<std::uint16_t>(v >> 16)) &&
                        groups.add(static_cast<std::uint16_t>(v));
      return fits ? assemble(groups) : std::nullopt;
    }
    if (!groups.add(*group)) return std::nullopt;
    if (text.empty()) return assemble(groups);
    if (take(text, "::")) {
      if (groups.gap) return std::nullopt;
      groups.gap = groups.count;
      if (text.empty()) return assemble(groups);
    } else if (!take(text, ":")) {
      return std::nullopt;
    }
  }
}

void append_number(std::string& out, std::uint32_t value, int base = 10) {
  std::array<char, 12> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, base).ptr;
  out.append(buffer.data(), end);
}

void append_v4(std::string& out, const std::uint8_t* octets) {
  for (int i = 0; i < 4; ++i) {
    if (i > 0) out += '.';
    append_number(out, octets[i]);
  }
}

struct Run {
  std::size_t start = 8;
  std::size_t length = 0;
};

// RFC 5952 §4.2: the first longest run of at least two zero groups is written "::".
Run longest_zero_run(const std::array<std::uint16_t, 8>& groups) noexcept {
  Run best;
  Run current;
  for (std::size_t i = 0; i < 8; ++i) {
    if (groups[i] != 0) {
      current = {};
      continue;
    }
    if (current.length == 0) current.start = i;
    if (++current.length > best.length) best = current;
  }
  return best.length >= 2 ? best : Run{};
}

void append_v6(std::string& out, const IpAddress& address) {
  const auto& octets = address.octets();
  if (address.is_v4_mapped()) {
    out += "::ffff:";
    append_v4(out, octets.data() + 12);
    return;
  }
  std::array<std::uint16_t, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i) {
    groups[i] = static_cast<std::uint16_t>(octets[2 * i] << 8 | octets[2 * i + 1]);
  }
  const Run zeros = longest_zero_run(groups);
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == zeros.start) {
      out += "::";
      i += zeros.length - 1;
      continue;
    }
    if (i != 0 && i != zeros.start + zeros.length) out += ':';
    append_number(out, groups[i], 16);
  }
}

}  // namespace

bool IpCidr::contains(const IpAddress& other) const noexcept {
  if (other.family() != address.family()) return false;
  const std::size_t size = bit_width_of(address.family()) / 8;
  for (std::size_t i = 0; i < size; ++i) {
    const int difference = address.octets()[i] ^ other.octets()[i];
    if ((difference & mask_octet(prefix_len, i)) != 0) return false;
  }
  return true;
}

IpAddress IpCidr::network() const noexcept {
  std::array<std::uint8_t, 16> octets = address.octets();
  for (std::size_t i = 0; i < 16; ++i) {
    octets[i] = static_cast<std::uint8_t>(octets[i] & mask_octet(prefix_len, i));
  }
  if (address.is_v6()) return IpAddress::v6(octets);
  return IpAddress::v4(octets[0], octets[1], octets[2], octets[3]);
}

std::optional<IpAddress> IpCidr::directed_broadcast() const noexcept {
  if (address.is_v6() || prefix_len > 30) return std::nullopt;
  return IpAddress::v4(address.v4_value() | (0xffffffffU >> prefix_len));
}

std::optional<MacAddress> parse_mac(std::string_view text) noexcept {
  if (text.size() != 17) return std::nullopt;
  MacAddress mac;
  for (std::size_t i = 0; i < 6; ++i) {
    const int high = hex_digit(text[3 * i]);
    const int low = hex_digit(text[3 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    if (i < 5 && text[3 * i + 2] != ':' && text[3 * i + 2] != '-') return std::nullopt;
    mac.octets[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return mac;
}

std::optional<IpAddress> parse_ip(std::string_view text) noexcept {
  return text.find(':') == std::string_view::npos ? parse_v4(text) : parse_v6(text);
}

std::optional<IpCidr> parse_cidr(std::string_view text) noexcept {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  const auto limit = static_cast<std::uint32_t>(bit_width_of(address->family()));
  const auto length = whole_decimal(text.substr(slash + 1), limit);
  if (!length) return std::nullopt;
  return IpCidr{*address, static_cast<std::uint8_t>(*length)};
}

std::optional<Endpoint> parse_endpoint(std::string_view text) noexcept {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = whole_decimal(text.substr(colon + 1), 0xffff);
  std::string_view host = text.substr(0, colon);
  if (!port) return std::nullopt;
  Endpoint endpoint{{}, static_cast<std::uint16_t>(*port), 0};
  const bool bracketed = take(host, "[");
  if (bracketed) {
    if (!host.ends_with(']')) return std::nullopt;
    host.remove_suffix(1);
    if (const std::size_t percent = host.find('%'); percent != std::string_view::npos) {
      const auto scope = whole_decimal(host.substr(percent + 1), 0xffffffffU);
      if (!scope) return std::nullopt;
      endpoint.scope_id = *scope;
      host = host.substr(0, percent);
    }
  }
  const auto address = parse_ip(host);
  if (!address || address->is_v6() != bracketed) return std::nullopt;
  endpoint.address = *address;
  return endpoint;
}

std::string to_string(const MacAddress& mac) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t octet : mac.octets) {
    if (!out.empty()) out += ':';
    out += kDigits[octet >> 4];
    out += kDigits[octet & 15];
  }
  return out;
}

std::string to_string(const IpAddress& address) {
  std::string out;
  if (address.is_v4()) {
    append_v4(out, address.octets().data());
  } else {
    append_v6(out, address);
  }
  return out;
}

std::string to_string(const IpCidr& cidr) {
  std::string out = to_string(cidr.address) + '/';
  append_number(out, cidr.prefix_len);
  return out;
}

std::string to_string(const Endpoint& endpoint) {
  std::string out;
  if (endpoint.address.is_v6()) {
    out = '[' + to_string(endpoint.address);
    if (endpoint.scope_id != 0) {
      out += '%';
      append_number(out, endpoint.scope_id);
    }
    out += ']';
  } else {
    out = to_string(endpoint.address);
  }
  out += ':';
  append_number(out, endpoint.port);
  return out;
}

}  // namespace tidewire
