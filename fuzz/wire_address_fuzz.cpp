// Text forms of addresses: what parses prints and parses to the same again.
#include <string_view>

#include "fuzz.hpp"
#include "wire/address.hpp"

using namespace tidewire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto ip = parse_ip(text)) fuzz::check(parse_ip(to_string(*ip)) == ip);
  if (const auto mac = parse_mac(text)) fuzz::check(parse_mac(to_string(*mac)) == mac);
  if (const auto cidr = parse_cidr(text)) {
    fuzz::check(parse_cidr(to_string(*cidr)) == cidr);
    fuzz::check(cidr->contains(cidr->address) && cidr->contains(cidr->network()));
    if (const auto broadcast = cidr->directed_broadcast()) {
      fuzz::check(cidr->contains(*broadcast));
    }
  }
  if (const auto endpoint = parse_endpoint(text)) {
    fuzz::check(parse_endpoint(to_string(*endpoint)) == endpoint);
  }
  return 0;
}
