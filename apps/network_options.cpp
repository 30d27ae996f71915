#include "apps/network_options.hpp"

#include <sys/random.h>

#include "apps/failure.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

void NetworkOptions::add_to(CLI::App& command) {
  command
      .add_option("--net", net,
                  "The network between the program and everything else, as words:\n" +
                      std::string(device::net_spec_help()))
      ->type_name("WORDS")
      ->group("Network");
  command
      .add_option("--seed", seed,
                  "Number that decides which packets are hit; without it one is drawn and printed")
      ->type_name("N")
      ->group("Network");
  command
      .add_option("--publish", publish,
                  "Let a port of this host lead to a port of the virtual host: "
                  "[ADDR:]HOSTPORT:PORT[/udp]; may be repeated")
      ->type_name("SPEC")
      ->expected(1)
      ->take_all()
      ->group("Network");
  command.add_flag("--no-host", no_host, "Forbid connections to this host itself")
      ->group("Network");
  command.add_option("--cc", congestion_control, "Congestion control of both ends")
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Network");
  command.add_option("--pcap", pcap, "Write every packet on the virtual link to FILE (pcapng)")
      ->type_name("FILE")
      ->group("Output");
  command
      .add_flag("--print", print,
                "Print a line for every packet on standard error; retransmissions, changes of "
                "state and drops are marked")
      ->group("Output");
}

void NetworkOptions::check(int status) {
  auto parsed = device::parse_net_spec(net);
  if (!parsed) throw Failure("--net: " + parsed.error(), status);
  spec = *parsed;
  for (const std::string& text : publish) {
    auto one = gateway::parse_publish(text);
    if (!one) throw Failure(one.error(), status);
    published.push_back(*one);
  }
  if (!seed) {
    seed = draw_seed();
    seed_drawn = true;
  }
}

std::uint64_t draw_seed() {
  std::uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    value = static_cast<std::uint64_t>(runtime::Clock::now().nanos());
  }
  return value % 1'000'000'000;  // short enough to be typed again
}

}  // namespace tidewire::apps
