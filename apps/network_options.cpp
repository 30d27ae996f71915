#include "apps/network_options.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

#include "apps/failure.hpp"
#include "core/stack.hpp"
#include "runtime/clock.hpp"

namespace tidewire::apps {

namespace {

/// Splits off a leading number that fits 32 bits; none if there is no digit.
std::optional<std::uint32_t> take_number(std::string_view& text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::optional<std::pair<std::uint16_t, std::uint16_t>> parse_ports(std::string_view text) {
  const auto first = take_number(text);
  if (!first || *first == 0 || !text.starts_with('-')) return std::nullopt;
  text.remove_prefix(1);
  const auto last = take_number(text);
  if (!last || !text.empty() || *last > 65'535 || *first > *last) return std::nullopt;
  return std::pair(static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last));
}

std::optional<Duration> parse_length(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  if (text == "ms") return Duration::millis(*number);
  if (text == "s") return Duration::seconds(*number);
  return std::nullopt;
}

}  // namespace

void NetworkOptions::add_to(CLI::App& command) {
  command
      .add_option("--net", net,
                  "The network between the program and everything else, @FILE with a scenario, or "
                  "words:\n" +
                      std::string(device::net_spec_help()))
      ->type_name("WORDS|@FILE")
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
  command
      .add_flag("--no-host", no_host,
                "Forbid connections to this host itself, its name server included")
      ->group("Network");
  const auto known = congestion_controls();
  command.add_option("--cc", congestion_control, "Congestion control of both ends")
      ->type_name("NAME")
      ->check(CLI::IsMember(std::vector<std::string>(known.begin(), known.end())))
      ->capture_default_str()
      ->group("Network");
  command
      .add_flag(
          "--ecn{on}", ecn,
          "Both ends ask for explicit congestion notification (RFC 3168), with --ecn=accurate "
          "for its accurate form (RFC 9768); --ecn=off: they do not even agree to it")
      ->check(CLI::IsMember({"on", "off", "accurate"}))
      ->group("Network");
  command
      .add_option("--fast-open", fast_open,
                  "TCP Fast Open, as the bits of Linux's tcp_fastopen: 1 client, 2 listeners that "
                  "ask for it, 4 and 512 without cookies, 1024 all listeners")
      ->type_name("BITS")
      ->capture_default_str()
      ->group("Network");
  command
      .add_option("--ephemeral", ephemeral,
                  "Ports that connections of the virtual host start from: FIRST-LAST "
                  "(32768-60999)")
      ->type_name("PORTS")
      ->group("Network");
  command
      .add_option("--time-wait", time_wait,
                  "How long a closed connection keeps its ports, for example 500ms (60s)")
      ->type_name("TIME")
      ->group("Network");
  command
      .add_option("--memory", memory, "Most memory of the two stacks together: 64MB, 2GB (768MB)")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false).description(""))
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

void NetworkOptions::note_given(const CLI::App& command) {
  const auto of_network = [](const CLI::Option* option) {
    return option->count() != 0 && option->get_group() == "Network";
  };
  for (const CLI::Option* option : command.get_options(of_network)) {
    for (const std::string& value : option->results()) {
      given.push_back(option->get_name() + "=" + value);
    }
  }
}

bool NetworkOptions::is_given(std::string_view option) const {
  return std::ranges::any_of(given, [option](const std::string& word) {
    return word.starts_with(option) && word.substr(option.size()).starts_with('=');
  });
}

EcnUse NetworkOptions::ecn_use() const noexcept {
  if (ecn == "on") return EcnUse::request;
  if (ecn == "accurate") return EcnUse::accurate;
  return ecn == "off" ? EcnUse::never : EcnUse::accept;
}

device::FileReader files_in(const std::string& folder) {
  return [folder](const std::string& name) -> Result<std::string, std::string> {
    constexpr std::size_t kMost = std::size_t{64} << 20;
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::ifstream file(path, std::ios::binary);
    std::string text;
    for (std::array<char, 65536> block; text.size() <= kMost && file.read(block.data(), 1);) {
      const std::streamsize more = file.readsome(block.data() + 1, block.size() - 1);
      text.append(block.data(), static_cast<std::size_t>(more) + 1);
    }
    if (text.size() > kMost) return fail(path.string() + " is larger than 64 MiB");
    if (!file.eof()) {
      return fail("cannot read " + path.string() + ": " + std::string(std::strerror(errno)));
    }
    return text;
  };
}

/// `@FILE` is a scenario, all else are words.
void NetworkOptions::check_net(int status) {
  if (!net.starts_with('@')) {
    auto parsed = device::read_net_spec({}, net, files_in(""));
    if (!parsed) throw Failure("--net: " + to_string(parsed.error()), status);
    spec = *parsed;
    return;
  }
  const std::string name = net.substr(1);
  if (name.find_first_of(" \t") != std::string::npos && !std::filesystem::exists(name)) {
    throw Failure("--net @FILE stands alone: words go into the file, as net = \"WORDS\"", status);
  }
  const auto text = files_in("")(name);
  if (!text) throw Failure("--net: " + text.error(), status);
  const std::string folder = std::filesystem::path(name).parent_path();
  auto scenario = device::parse_scenario(*text, name, files_in(folder));
  if (!scenario) throw Failure(scenario.error(), status);
  spec = scenario->start;
  events = std::move(scenario->events);
}

void NetworkOptions::check(int status) {
  check_net(status);
  for (const std::string& text : publish) {
    auto one = gateway::parse_publish(text);
    if (!one) throw Failure(one.error(), status);
    published.push_back(*one);
  }
  if (!ephemeral.empty() && !(ephemeral_range = parse_ports(ephemeral))) {
    throw Failure("--ephemeral " + ephemeral + ": the form is FIRST-LAST, for example 40000-40999",
                  status);
  }
  if (!time_wait.empty() && !(time_wait_length = parse_length(time_wait))) {
    throw Failure("--time-wait " + time_wait + ": a time is a number with ms or s, for example 2s",
                  status);
  }
  if (memory < kLeastMemory) {
    throw Failure("--memory " + std::to_string(memory) + ": that is too little, 16MB is the least",
                  status);
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
