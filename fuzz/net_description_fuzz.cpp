// What people write about networks: words, scenario files, recordings. The first byte chooses.
#include <string>

#include "device/scenario.hpp"
#include "fuzz.hpp"

namespace tidewire::device {
namespace {

void words(std::string_view text) {
  const auto spec = parse_net_spec(text);
  if (!spec) return fuzz::check(!spec.error().empty());
  const auto again = parse_net_spec(to_string(*spec));
  fuzz::check(again && *again == *spec);
}

void scenario(std::string_view text) {
  const FileReader files = [](const std::string&) -> Result<std::string, std::string> {
    return std::string("1\n2\n");
  };
  const auto read = parse_scenario(text, "f", files);
  if (!read) return fuzz::check(read.error().starts_with("f:"));
  Duration last;
  for (const NetEvent& event : read->events) {
    fuzz::check(event.at >= last);
    last = event.at;
  }
}

void recording(std::string_view text) {
  const auto trace = RateTrace::parse(text, "f");
  if (!trace) return fuzz::check(trace.error().starts_with("f:"));
  fuzz::check(trace->average_bps() > 0);
  for (std::int64_t ms = 0; ms < 50; ++ms) {
    const std::uint64_t n = trace->first_from(Duration::millis(ms));
    fuzz::check(trace->opportunity(n) >= Duration::millis(ms));
  }
}

}  // namespace
}  // namespace tidewire::device

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidewire::device;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0:
      words(text);
      break;
    case 1:
      scenario(text);
      break;
    default:
      recording(text);
  }
  return 0;
}
