#include "device/net_values.hpp"

#include <array>
#include <span>

namespace tidewire::device::net_values {
namespace {

struct Unit {
  Word name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 4> kTimeUnits{
    {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};
constexpr std::array<Unit, 3> kRateUnits{
    {{"kbit", 1'000}, {"mbit", 1'000'000}, {"gbit", 1'000'000'000}}};

/// A decimal number as digits / 10^places, exactly.
struct Decimal {
  std::uint64_t digits = 0;
  std::uint64_t scale = 1;
};

/// Splits "12.5ms" into 12.5 and "ms". Nothing if it does not start with a number or has more
/// digits than a uint64 surely holds.
std::optional<Decimal> take_decimal(Word& text) {
  Decimal number;
  std::size_t at = 0;
  std::size_t count = 0;
  bool point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !point && count > 0) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      if (++count > 15) return std::nullopt;
      number.digits = number.digits * 10 + static_cast<std::uint64_t>(c - '0');
      if (point) number.scale *= 10;
    } else {
      break;
    }
  }
  if (count == 0 || text[at - 1] == '.') return std::nullopt;
  text.remove_prefix(at);
  return number;
}

/// number × factor (a power of 10) if that is a whole number that fits.
std::optional<std::uint64_t> scaled(Decimal number, std::uint64_t factor) {
  for (; number.scale > 1 && factor > 1; factor /= 10) number.scale /= 10;  // both powers of 10
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(number.digits, factor, &product)) return std::nullopt;
  if (product % number.scale != 0) return std::nullopt;
  return product / number.scale;
}

std::optional<std::uint64_t> with_unit(Word value, std::span<const Unit> units) {
  const std::optional<Decimal> number = take_decimal(value);
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (value == unit.name) return scaled(*number, unit.factor);
  }
  return std::nullopt;
}

std::optional<Probability> parse_probability(Word value) {
  std::optional<Decimal> number = take_decimal(value);
  if (!number || value != "%") return std::nullopt;
  while (number->scale > 1 && number->digits % 10 == 0) {
    number->digits /= 10;
    number->scale /= 10;
  }
  if (number->digits > 100 * number->scale) return std::nullopt;
  if (number->scale > 1'000'000'000) return std::nullopt;  // finer than a step of 2^-32
  // digits / (100 × scale) × 2^32, in two parts so that nothing overflows.
  const std::uint64_t divisor = 100 * number->scale;
  const std::uint64_t high = (number->digits << 16) / divisor;
  const std::uint64_t rest = (number->digits << 16) % divisor;
  return Probability{(high << 16) + ((rest << 16) + divisor / 2) / divisor};
}

std::string decimal(std::uint64_t value, std::uint64_t scale) {
  std::string text = std::to_string(value / scale);
  std::uint64_t rest = value % scale;
  if (rest == 0) return text;
  text += '.';
  while (rest != 0) {
    scale /= 10;
    text += static_cast<char>('0' + rest / scale);
    rest %= scale;
  }
  return text;
}

std::string unit_text(std::uint64_t value, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (value >= unit.factor) best = &unit;
  }
  return decimal(value, best->factor) + std::string(best->name);
}

constexpr std::array<Unit, 3> kSizeUnits{{{"KB", std::uint64_t{1} << 10},
                                          {"MB", std::uint64_t{1} << 20},
                                          {"GB", std::uint64_t{1} << 30}}};

}  // namespace

std::optional<std::uint64_t> plain(Word value) {
  const std::optional<Decimal> number = take_decimal(value);
  if (!number || !value.empty() || number->scale != 1) return std::nullopt;
  return number->digits;
}

bool set_duration(Duration& target, Word value) {
  const std::optional<std::uint64_t> ns = with_unit(value, kTimeUnits);
  if (!ns || *ns > 3'600'000'000'000U) return false;
  target = Duration::nanos(static_cast<std::int64_t>(*ns));
  return true;
}

bool set_probability(Probability& target, Word value) {
  const std::optional<Probability> p = parse_probability(value);
  if (p) target = *p;
  return p.has_value();
}

bool set_number(std::uint32_t& target, Word value, std::uint64_t least, std::uint64_t most) {
  const std::optional<std::uint64_t> n = plain(value);
  if (!n || *n < least || *n > most) return false;
  target = static_cast<std::uint32_t>(*n);
  return true;
}

bool set_rate(std::uint64_t& target, Word value) {
  const std::optional<std::uint64_t> bps = with_unit(value, kRateUnits);
  if (!bps || *bps < 1'000 || *bps > 1'000'000'000'000U) return false;
  target = *bps;
  return true;
}

bool set_limit(QueueLimit& target, Word value) {
  const std::optional<Decimal> n = take_decimal(value);
  if (!n || n->scale != 1 || n->digits == 0 || n->digits > 1'000'000) return false;
  target = {};
  if (value == "packets") {
    target.packets = static_cast<std::uint32_t>(n->digits);
  } else if (value == "KB") {
    target.bytes = n->digits * 1024;
  } else {
    return false;
  }
  return true;
}

std::string time_text(Duration d) {
  return unit_text(static_cast<std::uint64_t>(d.count_nanos()), kTimeUnits);
}

/// The shortest percentage that rounds to this very step of 2^-32.
std::string percent_text(Probability p) {
  for (std::uint64_t scale = 1; scale <= 1'000'000'000; scale *= 10) {
    // p × 100 × scale / 2^32, rounded; the product needs more than 64 bits: split p.
    const std::uint64_t factor = 100 * scale;
    const std::uint64_t high = (p.per_2_32 >> 16) * factor;
    const std::uint64_t low = (p.per_2_32 & 0xffff) * factor;
    const std::uint64_t digits = (high + (low >> 16) + (1U << 15)) >> 16;
    const std::string text = decimal(digits, scale) + "%";
    if (parse_probability(text) == p) return text;
  }
  return decimal(p.per_2_32 * 100 >> 32, 1) + "%";
}

bool set_wait(Duration& target, Word value) {
  return set_duration(target, value) && target > Duration::zero();
}

bool set_switch(bool& target, Word value) {
  if (value != "on" && value != "off") return false;
  target = value == "on";
  return true;
}

bool set_size(std::uint64_t& target, Word value) {
  for (const Unit& unit : kSizeUnits) {
    if (!value.ends_with(unit.name)) continue;
    const auto count = plain(value.substr(0, value.size() - unit.name.size()));
    if (!count || *count == 0 || *count > (std::uint64_t{1} << 40) / unit.factor) return false;
    target = *count * unit.factor;
    return true;
  }
  return false;
}

std::string rate_text(std::uint64_t bits_per_second) {
  return unit_text(bits_per_second, kRateUnits);
}

std::string limit_text(const QueueLimit& limit) {
  return limit.packets != 0 ? std::to_string(limit.packets) + "packets"
                            : std::to_string(limit.bytes / 1024) + "KB";
}

std::string size_text(std::uint64_t bytes) {
  const Unit* best = &kSizeUnits.front();
  for (const Unit& unit : kSizeUnits) {
    if (bytes % unit.factor == 0) best = &unit;
  }
  return std::to_string(bytes / best->factor) + std::string(best->name);
}

bool set_ordinals(std::vector<std::uint64_t>& target, Word value) {
  constexpr std::size_t kMost = 10'000;
  target.clear();
  return each_part(value, [&](Word part) {
    const std::size_t dash = part.find('-');
    const auto first = plain(part.substr(0, dash));
    const auto last = dash == Word::npos ? first : plain(part.substr(dash + 1));
    if (!first || !last || *first == 0 || *first > *last || *last - *first >= kMost) return false;
    if (!target.empty() && *first <= target.back()) return false;
    for (std::uint64_t i = *first; i <= *last; ++i) target.push_back(i);
    return target.size() <= kMost;
  });
}

std::string ordinals_text(const std::vector<std::uint64_t>& ordinals) {
  std::string text;
  for (std::size_t i = 0; i < ordinals.size();) {
    std::size_t end = i + 1;
    while (end < ordinals.size() && ordinals[end] == ordinals[end - 1] + 1) ++end;
    text += (i == 0 ? "" : ",") + std::to_string(ordinals[i]);
    if (end > i + 1) text += "-" + std::to_string(ordinals[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace tidewire::device::net_values
