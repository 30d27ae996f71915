// Writes JSON text, member by member.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.hpp"

namespace tidewire::report {

/// Commas, indentation and escapes are taken care of; the caller keeps begin and end in balance.
/// Numbers are integers, so that nothing is rounded on the way.
class JsonWriter {
 public:
  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  /// The name of the next value.
  void key(std::string_view name);

  void value(std::string_view text);
  void value(const char* text) { value(std::string_view(text)); }
  void value(bool truth) { raw(truth ? "true" : "false"); }
  void value(std::uint64_t n) { raw(std::to_string(n)); }
  void value(std::int64_t n) { raw(std::to_string(n)); }
  void value(std::uint32_t n) { raw(std::to_string(n)); }
  void value(int n) { raw(std::to_string(n)); }
  void null() { raw("null"); }

  template <typename T>
  void member(std::string_view name, T v) {
    key(name);
    value(v);
  }

  const std::string& text() const noexcept { return text_; }

 private:
  void open(char bracket);
  void close(char bracket);
  void raw(std::string_view token);
  void before_value();
  void new_line();

  std::string text_;
  std::vector<bool> has_members_;
  bool after_key_ = false;
};

/// Bytes that are not UTF-8 become U+FFFD.
std::string json_escape(std::string_view text);

}  // namespace tidewire::report
