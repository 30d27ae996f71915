// The values behind the words of a network description, as text and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.hpp"
#include "device/net_spec.hpp"

namespace tidewire::device::net_values {

using Word = std::string_view;

// Readers take the whole word, or answer false and leave the target alone or half written.

/// `20ms`, `1.5s`, `300us`, at most an hour.
bool set_duration(Duration& target, Word value);
/// The same, but not zero.
bool set_wait(Duration& target, Word value);
/// `1%`, `0.1%`.
bool set_probability(Probability& target, Word value);
bool set_number(std::uint32_t& target, Word value, std::uint64_t least, std::uint64_t most);
/// `50mbit`, `512kbit`: bits per second.
bool set_rate(std::uint64_t& target, Word value);
/// `100packets`, `64KB`.
bool set_limit(QueueLimit& target, Word value);
/// `64KB`, `10MB`, `1GB`: bytes, in steps of 1024.
bool set_size(std::uint64_t& target, Word value);
/// `on`, `off`.
bool set_switch(bool& target, Word value);
/// `3,7-9`: ascending, from 1.
bool set_ordinals(std::vector<std::uint64_t>& target, Word value);
/// A whole number and nothing else.
std::optional<std::uint64_t> plain(Word value);

/// Calls take(part) for the parts of a list with commas, until one is refused.
template <typename F>
bool each_part(Word list, F&& take) {
  while (true) {
    const std::size_t comma = list.find(',');
    if (!take(list.substr(0, comma))) return false;
    if (comma == Word::npos) return true;
    list.remove_prefix(comma + 1);
  }
}

std::string time_text(Duration time);
std::string percent_text(Probability p);
std::string rate_text(std::uint64_t bits_per_second);
std::string limit_text(const QueueLimit& limit);
std::string size_text(std::uint64_t bytes);
std::string ordinals_text(const std::vector<std::uint64_t>& ordinals);
inline std::string switch_text(bool on) { return on ? "on" : "off"; }

}  // namespace tidewire::device::net_values
