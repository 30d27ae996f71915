#include "sim/dumbbell.hpp"

#include <string>

#include "base/fixed_point.hpp"

namespace tidewire::sim {
namespace {

constexpr std::uint16_t kFirstPort = 5000;
constexpr IpAddress kReceiver = IpAddress::v4(10, 0, 0, 1);

HostOptions host_options(const DumbbellOptions& options) {
  HostOptions host;
  host.stack.tcp.ecn = options.ecn;
  host.stack.tcp.send_buffer_max = host.stack.tcp.receive_buffer_max = options.buffer_max;
  host.memory_cap = std::size_t{1} << 30;
  return host;
}

}  // namespace

Dumbbell::Dumbbell(const DumbbellOptions& options) : world_(options.seed) {
  Switch& middle = world_.add_switch();
  const HostOptions plain = host_options(options);
  Host& receiver = world_.add_host("receiver", plain);
  LinkOptions shared;
  shared.net.down = options.bottleneck;
  link_ = world_.connect(receiver, {kReceiver, 24}, middle, shared).link;
  for (std::size_t i = 0; i < options.flows.size(); ++i) {
    const FlowPlan& plan = options.flows[i];
    HostOptions of_flow = plain;
    of_flow.stack.tcp.congestion_control = plan.congestion_control;
    Host& sender = world_.add_host("sender" + std::to_string(i), of_flow);
    LinkOptions own;
    own.net.up.delay = own.net.down.delay = plan.delay;
    own.net.up.jitter = plan.jitter;
    const auto number = static_cast<std::uint8_t>(i + 2);
    (void)world_.connect(sender, {IpAddress::v4(10, 0, 0, number), 24}, middle, own);
    const auto port = static_cast<std::uint16_t>(kFirstPort + i);
    sinks_.push_back(&receiver.add<BulkSink>(port));
    BulkSource& source = sender.add<BulkSource>();
    senders_.push_back(&sender);
    sources_.push_back(&source);
    world_.after(plan.start, [&source, port] { source.connect({kReceiver, port}); });
  }
}

std::optional<SocketInfo> Dumbbell::info(std::size_t flow) const {
  return senders_.at(flow)->stack().info(sources_.at(flow)->socket());
}

std::uint32_t jain_index(const std::vector<std::uint64_t>& shares) {
  Wide sum = 0;
  Wide squares = 0;
  for (const std::uint64_t share : shares) {
    sum += share;
    squares += Wide{share} * share;
  }
  if (squares == 0) return 0;
  return static_cast<std::uint32_t>(sum * sum * 1000 / (squares * shares.size()));
}

}  // namespace tidewire::sim
