// pretty() prints anything, on one line.
#include <string>

#include "fuzz.hpp"
#include "wire/pretty.hpp"

using namespace tidewire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const Medium medium : {Medium::ethernet, Medium::ip}) {
    const std::string line = wire::pretty(medium, as_bytes(data, size));
    fuzz::check(!line.empty());
    for (const char c : line) fuzz::check(c >= ' ' && c <= '~');
  }
  return 0;
}
