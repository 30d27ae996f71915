#include "device/pcapng.hpp"
#include "sim_support.hpp"
#include "world_hash.hpp"

namespace tidewire::sim {

WorldHash hash_of_world(const RandomSeed& seed) {
  World world{seed, AdversaryOptions::all()};
  device::HashSink sink;
  device::PcapngWriter writer{sink};
  Switch& sw = world.add_switch();
  std::vector<Host*> hosts;
  LinkOptions link;
  link.net = net("delay=8ms jitter=2ms loss=2% reorder=1% dup=1% corrupt=0.5% rate=20mbit");
  for (std::uint8_t i = 1; i <= 3; ++i) {
    Host& host = world.add_host("host" + std::to_string(i));
    const auto at = world.connect(host, {IpAddress::v4(10, 0, 0, i), 24}, sw, link);
    host.capture(at.a, writer);
    hosts.push_back(&host);
  }
  StreamPlan plan;
  plan.send_total = 200'000;
  plan.expect_seed = plan.send_seed;
  hosts[0]->add<StreamServer>(Endpoint{IpAddress::any(Family::v4), kPort}, plan);
  hosts[0]->add<DatagramServer>(Endpoint{IpAddress::any(Family::v4), kPort}, true);
  const Endpoint server{IpAddress::v4(10, 0, 0, 1), kPort};
  std::vector<StreamPeer*> clients;
  for (std::size_t i = 1; i < hosts.size(); ++i) {
    clients.push_back(&hosts[i]->add<StreamPeer>(plan));
    clients.back()->connect(server);
  }
  auto& pings = hosts[1]->add<DatagramClient>(server, 50U, std::size_t{3000});
  const auto finished = [&] { return pings.done() && clients[0]->done() && clients[1]->done(); };
  world.run_until(finished, world.now() + Duration::seconds(3600));
  WorldHash result;
  result.complete = pings.answered() > 10;
  for (const StreamPeer* client : clients) {
    result.complete = result.complete && client->error() == SocketError::none && client->intact() &&
                      client->bytes_received() == plan.send_total;
  }
  world.run_for(Duration::seconds(200));
  result.hash = sink.hash();
  result.packets = writer.packets();
  return result;
}

}  // namespace tidewire::sim
