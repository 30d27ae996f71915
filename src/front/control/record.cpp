#include "front/control/record.hpp"

#include <algorithm>
#include <charconv>

namespace tidewire::control {

namespace {

constexpr std::size_t kMostValues = 64;
constexpr std::string_view kHex = "0123456789abcdef";

bool is_plain(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte != 0x7f && c != '%' && c != '=';
}

bool is_name(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (is_plain(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      if (!is_plain(text[i])) return std::nullopt;
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const std::size_t high = kHex.find(text[i + 1]);
    const std::size_t low = kHex.find(text[i + 2]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

}  // namespace

Record& Record::add(std::string_view name, std::string_view value) {
  values_.emplace_back(name, value);
  return *this;
}

Record& Record::add(std::string_view name, std::uint64_t value) {
  return add(name, std::string_view(std::to_string(value)));
}

bool Record::has(std::string_view name) const noexcept {
  return std::ranges::any_of(values_, [&](const auto& v) { return v.first == name; });
}

std::string_view Record::get(std::string_view name) const noexcept {
  const auto found = std::ranges::find_if(values_, [&](const auto& v) { return v.first == name; });
  return found == values_.end() ? std::string_view{} : found->second;
}

std::vector<std::string> Record::all(std::string_view name) const {
  std::vector<std::string> found;
  for (const auto& [key, value] : values_) {
    if (key == name) found.push_back(value);
  }
  return found;
}

std::optional<std::uint64_t> Record::number(std::string_view name) const noexcept {
  const std::string_view text = get(name);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string to_line(const Record& record) {
  std::string line = record.kind();
  for (const auto& [name, value] : record.values()) {
    line += ' ' + name + '=';
    append_escaped(line, value);
  }
  line += '\n';
  return line;
}

std::optional<Record> parse_record(std::string_view line) {
  const std::size_t end = line.find(' ');
  if (!is_name(line.substr(0, end))) return std::nullopt;
  Record record(line.substr(0, end));
  std::string_view rest = end == std::string_view::npos ? "" : line.substr(end);
  for (std::size_t count = 0; !rest.empty(); ++count) {
    rest.remove_prefix(1);  // the blank
    const std::string_view word = rest.substr(0, rest.find(' '));
    const std::size_t equals = word.find('=');
    if (count == kMostValues || equals == std::string_view::npos) return std::nullopt;
    const auto value = unescaped(word.substr(equals + 1));
    if (!is_name(word.substr(0, equals)) || !value) return std::nullopt;
    record.add(word.substr(0, equals), *value);
    rest.remove_prefix(word.size());
  }
  return record;
}

}  // namespace tidewire::control
