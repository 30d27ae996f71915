#include "apps/station.hpp"

#include <fmt/core.h>
#include <netdb.h>

#include "apps/failure.hpp"
#include "apps/link_station.hpp"
#include "apps/virtual_network.hpp"
#include "device/factory.hpp"
#include "runtime/sockaddr.hpp"
#include "runtime/steered_device.hpp"

namespace tidewire::apps {

namespace {

class VirtualStation final : public Station {
 public:
  VirtualStation(const NetworkOptions& options, int status) : network_(options, status) {}

  runtime::Driver& driver() noexcept override { return network_.driver(); }
  Stack& stack() noexcept override { return network_.host(); }
  void drain(Duration patience) override { network_.drain(patience); }
  std::string reachable_at(std::uint16_t port, bool udp) const override {
    for (const auto& spec : published_) {
      if (spec.target.port == port && (spec.protocol == Protocol::udp) == udp) {
        return to_string(spec.host) + " of this host";
      }
    }
    return to_string(Endpoint{kHostAddress, port, 0}) + " inside the virtual network only";
  }
  void note(const std::vector<gateway::PublishSpec>& published) { published_ = published; }

 private:
  std::optional<IpAddress> host_alias() const override { return kGatewayAddress; }

  VirtualNetwork network_;
  std::vector<gateway::PublishSpec> published_;
};

void check_shards(const StationOptions& options, int status) {
  const std::uint32_t shards = options.shards;
  if (shards == 0 || shards > runtime::kShardsMax) {
    throw Failure(fmt::format("--shards {}: from 1 to {}", shards, runtime::kShardsMax), status);
  }
  if (shards == 1) return;
  if (!options.on_link()) {
    throw Failure("--shards needs a link with queues: --device tap:NAME or tun:NAME", status);
  }
  if (const auto fits = device::check_queues(options.device_description(), shards); !fits) {
    throw Failure("--shards: " + fits.error(), status);
  }
  if (options.network.spec.impairs() || !options.network.pcap.empty() || options.network.print) {
    throw Failure("--net, --pcap and --print are for links of one queue; leave out --shards",
                  status);
  }
}

}  // namespace

void StationOptions::add_to(CLI::App& command) {
  network.add_to(command);
  command
      .add_option("--device", device,
                  "Stand on this link instead:\n" + std::string(device::device_help()))
      ->type_name("KIND:NAME")
      ->group("Link");
  command.add_option("--tap", tap, "Short for --device tap:NAME")->type_name("NAME")->group("Link");
  command.add_option("--veth", veth, "Short for --device veth:NAME")
      ->type_name("NAME")
      ->group("Link");
  command.add_option("--addr", addr, "Our address there, for example 192.0.2.2/24")
      ->type_name("A/P")
      ->group("Link");
  command.add_option("--gw", gw, "The router there")->type_name("A")->group("Link");
  command.add_flag("--no-offload", no_offload, "One packet a frame, checksums computed here")
      ->group("Link");
  command
      .add_flag("--io-uring", io_uring,
                "TAP and TUN: hand the kernel many frames with one system call (io_uring)")
      ->group("Link");
}

void StationOptions::add_shards_to(CLI::App& command) {
  command
      .add_option("--shards", shards,
                  "Stacks on cores of their own that share the address and the flows (1 to 64); "
                  "needs --device tap:NAME or tun:NAME")
      ->type_name("N")
      ->capture_default_str()
      ->group("Link");
}

void StationOptions::check(int status) {
  network.check(status);
  if (!device.empty() + !tap.empty() + !veth.empty() > 1) {
    throw Failure("choose one of --device, --tap and --veth", status);
  }
  check_shards(*this, status);
  if (!on_link()) {
    if (!addr.empty() || !gw.empty()) {
      throw Failure("--addr and --gw need --device KIND:NAME (or --tap NAME, --veth NAME)", status);
    }
    if (io_uring) throw Failure("--io-uring needs --device tap:NAME or tun:NAME", status);
    return;
  }
  if (!network.events.empty()) {
    throw Failure(
        "--net @FILE with changes is for `tidewire run` and the virtual network; on a "
        "link of this host give words",
        status);
  }
  if (const auto known = device::check_description(device_description()); !known) {
    throw Failure("--device: " + known.error(), status);
  }
  if (!network.publish.empty()) {
    throw Failure(
        "--publish belongs to the virtual network; on a link the address itself is "
        "reachable",
        status);
  }
  if (addr.empty()) {
    throw Failure("which address on the link? Give one with --addr, for example 192.0.2.2/24",
                  status);
  }
  const auto cidr = parse_cidr(addr);
  if (!cidr || !cidr->address.is_v4()) {
    throw Failure("--addr " + addr + ": the form is A.B.C.D/PREFIX, for example 192.0.2.2/24",
                  status);
  }
  address = *cidr;
  if (gw.empty()) return;
  gateway = parse_ip(gw);
  if (!gateway || !gateway->is_v4()) throw Failure("--gw " + gw + ": no IPv4 address", status);
}

std::string StationOptions::device_description() const {
  if (!device.empty()) return device;
  return tap.empty() ? "veth:" + veth : "tap:" + tap;
}

std::unique_ptr<Station> Station::make(const StationOptions& options,
                                       const std::optional<gateway::PublishSpec>& publish,
                                       int status) {
  if (options.on_link()) return std::make_unique<LinkStation>(options, status);
  NetworkOptions network = options.network;
  if (publish && network.published.empty()) network.published.push_back(*publish);
  auto station = std::make_unique<VirtualStation>(network, status);
  station->note(network.published);
  return station;
}

IpAddress Station::resolve(const std::string& name, int status) {
  const auto alias = host_alias();
  if (alias && name == "host.tidewire") return *alias;
  const auto seen_from_here = [&](const IpAddress& address) {
    return alias && address.is_loopback() ? *alias : address;
  };
  if (const auto literal = parse_ip(name)) {
    if (!literal->is_v4()) throw Failure(name + ": only IPv4 addresses can be reached", status);
    return seen_from_here(*literal);
  }
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0) {
    throw Failure(name + ": " + gai_strerror(error), status);
  }
  runtime::SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return seen_from_here(runtime::to_endpoint(address).address);
}

}  // namespace tidewire::apps
