#include "device/rate_trace.hpp"

#include <algorithm>
#include <charconv>

namespace tidewire::device {

Result<RateTrace, std::string> RateTrace::parse(std::string_view text, std::string name) {
  RateTrace trace;
  std::size_t number = 0;
  const auto wrong = [&](const std::string& why) {
    return fail(name + ":" + std::to_string(number) + ": " + why);
  };
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() && text.empty()) break;
    std::uint32_t at = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), at);
    if (error != std::errc{} || stop != line.data() + line.size()) {
      return wrong("a line is a whole number of milliseconds, at which 1500 bytes may leave");
    }
    if (!trace.at_ms_.empty() && at < trace.at_ms_.back()) {
      return wrong("the times have to ascend; the line before has " +
                   std::to_string(trace.at_ms_.back()));
    }
    if (trace.at_ms_.size() == kMost) {
      return wrong("more than " + std::to_string(kMost) + " lines; shorten the recording");
    }
    trace.at_ms_.push_back(at);
  }
  if (trace.at_ms_.empty() || trace.at_ms_.back() == 0) {
    return wrong("the last time is the length of the recording and has to be above zero");
  }
  trace.name_ = std::move(name);
  return trace;
}

std::uint64_t RateTrace::average_bps() const noexcept {
  const std::uint64_t bits = std::uint64_t{at_ms_.size()} * kBytes * 8;
  return std::max<std::uint64_t>(bits * 1000 / at_ms_.back(), 1);
}

Duration RateTrace::opportunity(std::uint64_t n) const noexcept {
  const std::uint64_t round = n / at_ms_.size();
  const std::uint64_t ms = round * at_ms_.back() + at_ms_[n % at_ms_.size()];
  return Duration::millis(static_cast<std::int64_t>(ms));
}

std::uint64_t RateTrace::first_from(Duration at) const noexcept {
  const std::int64_t nanos = std::max<std::int64_t>(at.count_nanos(), 0);
  const std::uint64_t ms = (static_cast<std::uint64_t>(nanos) + 999'999) / 1'000'000;
  const std::uint64_t length = at_ms_.back();
  // The end of a round is the beginning of the next: an opportunity there belongs to the former.
  const std::uint64_t round = ms == 0 ? 0 : (ms - 1) / length;
  const auto inside = static_cast<std::uint32_t>(ms - round * length);
  const auto found = std::ranges::lower_bound(at_ms_, inside);
  return round * at_ms_.size() + static_cast<std::uint64_t>(found - at_ms_.begin());
}

}  // namespace tidewire::device
