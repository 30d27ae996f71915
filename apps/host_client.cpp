#include "apps/host_client.hpp"

#include "apps/failure.hpp"

namespace tidewire::apps {

namespace {

control::Place find_place() {
  auto place = control::open_place(control::PlaceOptions::of_this_process());
  if (!place) throw Failure(place.error());
  return std::move(*place);
}

std::vector<control::Client> connect_to_all(const control::Place& place) {
  std::vector<control::Client> hosts;
  for (const std::string& name : control::host_names(place)) {
    auto host = control::Client::connect(place, name);
    // One that was killed, or that ends at this moment, is none.
    if (host && *host) hosts.push_back(std::move(**host));
  }
  return hosts;
}

}  // namespace

control::Client connect_to_host(const std::string& name) {
  if (!control::is_host_name(name)) {
    throw Failure("'" + printable(name) +
                  "' is no name of a host: letters, digits, '.', '_' and '-', at most 64");
  }
  const control::Place place = find_place();
  auto host = control::Client::connect(place, name);
  if (!host) throw Failure(host.error());
  if (*host) return std::move(**host);
  std::string line = "no host " + name + " is running";
  std::string separator = "; there are: ";
  for (const control::Client& other : connect_to_all(place)) {
    line += separator + other.name();
    separator = ", ";
  }
  throw Failure(line);
}

std::vector<control::Client> connect_to_hosts() { return connect_to_all(find_place()); }

std::vector<control::Record> ask_host(control::Client& host, const control::Record& request) {
  auto records = host.ask(request);
  if (!records) throw Failure(records.error());
  return std::move(*records);
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return out;
}

}  // namespace tidewire::apps
