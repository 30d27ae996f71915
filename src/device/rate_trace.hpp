// A link whose rate follows a recording: the packet-delivery traces of mahimahi.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"

namespace tidewire::device {

/// When a link may carry a packet: each entry is a millisecond from the start at which up to
/// `kBytes` leave. The recording begins anew when it is over. Immutable; shared by links.
class RateTrace {
 public:
  /// What one opportunity carries.
  static constexpr std::uint32_t kBytes = 1500;
  static constexpr std::size_t kMost = 4'000'000;  ///< entries of a recording

  /// The text of a recording: a whole number of milliseconds a line, ascending, the last above
  /// zero. `name` is for messages. The error names the line and the fix.
  static Result<RateTrace, std::string> parse(std::string_view text, std::string name);

  const std::string& name() const noexcept { return name_; }
  /// Bits per second over the whole recording, at least 1.
  std::uint64_t average_bps() const noexcept;
  /// The n-th opportunity of all, counted from the start.
  Duration opportunity(std::uint64_t n) const noexcept;
  /// The first one at or after `at`.
  std::uint64_t first_from(Duration at) const noexcept;

  friend bool operator==(const RateTrace&, const RateTrace&) noexcept = default;

 private:
  std::string name_;
  std::vector<std::uint32_t> at_ms_;
};

/// A trace, or none; equal if what is recorded is.
class SharedTrace {
 public:
  SharedTrace() noexcept = default;
  explicit SharedTrace(RateTrace trace)
      : trace_(std::make_shared<const RateTrace>(std::move(trace))) {}
  explicit operator bool() const noexcept { return trace_ != nullptr; }
  const RateTrace& operator*() const noexcept { return *trace_; }
  const RateTrace* operator->() const noexcept { return trace_.get(); }
  friend bool operator==(const SharedTrace& a, const SharedTrace& b) noexcept {
    return a.trace_ == b.trace_ || (a && b && *a == *b);
  }

 private:
  std::shared_ptr<const RateTrace> trace_;
};

}  // namespace tidewire::device
