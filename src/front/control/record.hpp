// The lines of the control protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidewire::control {

/// A line: a word that says what it is, then named values, for example
/// `net action=set words=loss%3d5%25`. In values, control characters, blanks, `=` and `%` are
/// written as % and two hexadecimal digits. A name may come several times.
class Record {
 public:
  Record() = default;
  explicit Record(std::string_view kind) : kind_(kind) {}

  const std::string& kind() const noexcept { return kind_; }
  Record& add(std::string_view name, std::string_view value);
  Record& add(std::string_view name, std::uint64_t value);

  bool has(std::string_view name) const noexcept;
  /// The first value of that name; empty if there is none.
  std::string_view get(std::string_view name) const noexcept;
  std::vector<std::string> all(std::string_view name) const;
  /// None: not there, or no decimal number that fits.
  std::optional<std::uint64_t> number(std::string_view name) const noexcept;
  const std::vector<std::pair<std::string, std::string>>& values() const noexcept {
    return values_;
  }

 private:
  std::string kind_;
  std::vector<std::pair<std::string, std::string>> values_;
};

/// With its newline.
std::string to_line(const Record& record);
/// `line` without its newline. None: not of that form, or more than 64 values.
std::optional<Record> parse_record(std::string_view line);

}  // namespace tidewire::control
