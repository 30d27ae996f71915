#include "report/json_writer.hpp"

#include <array>
#include <cstdio>

namespace tidewire::report {

namespace {

/// Length of the well-formed UTF-8 sequence at the front (RFC 3629); 0 if there is none.
std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) > 0x9f;
  const bool too_great = first == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || too_great ? 0 : length;
}

}  // namespace

std::string json_escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = utf8_length(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(c));
      out += code.data();
    } else if (length == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

void JsonWriter::key(std::string_view name) {
  before_value();
  text_ += '"' + json_escape(name) + "\": ";
  after_key_ = true;
}

void JsonWriter::value(std::string_view text) { raw('"' + json_escape(text) + '"'); }

void JsonWriter::raw(std::string_view token) {
  before_value();
  text_ += token;
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (has_members_.empty()) return;
  if (has_members_.back()) text_ += ',';
  has_members_.back() = true;
  new_line();
}

void JsonWriter::open(char bracket) {
  before_value();
  text_ += bracket;
  has_members_.push_back(false);
}

void JsonWriter::close(char bracket) {
  const bool had = has_members_.back();
  has_members_.pop_back();
  if (had) new_line();
  text_ += bracket;
  if (has_members_.empty()) text_ += '\n';
}

void JsonWriter::new_line() {
  text_ += '\n';
  text_.append(has_members_.size() * 2, ' ');
}

}  // namespace tidewire::report
