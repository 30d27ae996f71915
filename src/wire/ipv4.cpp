#include "wire/ipv4.hpp"

namespace tidewire::wire {
namespace {

constexpr std::uint8_t kEnd = 0;
constexpr std::uint8_t kNop = 1;
constexpr std::uint8_t kRecordRoute = 7;
constexpr std::uint8_t kTimestamp = 68;
constexpr std::uint8_t kLooseSourceRoute = 131;
constexpr std::uint8_t kStrictSourceRoute = 137;
constexpr std::uint8_t kRouterAlert = 148;

/// Pointer rules of RFC 791 §3.1: a pointer may lie one field past the end, not before the data.
bool pointer_ok(Bytes option, std::uint8_t minimum) noexcept {
  return option.size() >= 3 && load_u8(option.data() + 2) >= minimum;
}

Result<void, ParseError> take_option(Bytes option, Ipv4Options& found) noexcept {
  switch (load_u8(option.data())) {
    case kLooseSourceRoute:
    case kStrictSourceRoute:
      //= RFC 1122 §3.2.1.8
      if (found.source_route || !pointer_ok(option, 4)) return fail(ParseError::bad_option_length);
      found.source_route = true;
      break;
    case kRecordRoute:
      if (!pointer_ok(option, 4)) return fail(ParseError::bad_option_length);
      found.record_route = true;
      break;
    case kTimestamp:
      if (option.size() < 4 || !pointer_ok(option, 5)) return fail(ParseError::bad_option_length);
      found.timestamp = true;
      break;
    case kRouterAlert:
      if (option.size() != 4) return fail(ParseError::bad_option_length);
      found.router_alert = true;
      break;
    default:
      break;
  }
  return {};
}

}  // namespace

Result<Ipv4Options, ParseError> scan_ipv4_options(Bytes options) noexcept {
  Ipv4Options found;
  while (!options.empty()) {
    const std::uint8_t kind = load_u8(options.data());
    if (kind == kEnd) break;
    if (kind == kNop) {
      options = options.subspan(1);
      continue;
    }
    const std::size_t length = options.size() < 2 ? 0 : load_u8(options.data() + 1);
    if (length < 2 || length > options.size()) return fail(ParseError::bad_option_length);
    if (const auto taken = take_option(options.first(length), found); !taken) {
      return fail(taken.error());
    }
    options = options.subspan(length);
  }
  return found;
}

}  // namespace tidewire::wire
