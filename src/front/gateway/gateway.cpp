#include "front/gateway/gateway.hpp"

namespace tidewire::gateway {

Gateway::Gateway(runtime::Driver& driver, Stack& stack, const GatewayConfig& config)
    : driver_(driver),
      context_{stack, driver.poller(), config, {}, {}},
      tcp_(context_),
      udp_(context_),
      echo_(context_) {
  driver_.set_owner(stack, this);
  driver_.add_task(*this);
}

Gateway::~Gateway() {
  driver_.remove_task(*this);
  driver_.set_owner(context_.stack, nullptr);
}

void Gateway::serve(InterfaceId interface) {
  context_.stack.set_forwarding(
      interface, {.tcp = true, .udp = true, .icmp_echo = true, .include_local = true});
}

Endpoint target_of(const Context& context, const PublishSpec& spec) {
  Endpoint target = spec.target;
  if (target.address.is_unspecified()) target.address = context.config.default_target;
  return target;
}

Result<PublishSpec, std::string> Gateway::publish(const PublishSpec& spec) {
  if (spec.protocol == Protocol::udp) {
    PublishedUdp& port = published_udp_.emplace_back(context_);
    if (auto opened = port.open(spec); !opened) {
      published_udp_.pop_back();
      return fail(std::move(opened.error()));
    }
    return port.spec();
  }
  PublishedTcp& port = published_tcp_.emplace_back(context_, tcp_);
  if (auto opened = port.open(spec); !opened) {
    published_tcp_.pop_back();
    return fail(std::move(opened.error()));
  }
  return port.spec();
}

void Gateway::on_event(const Event& event, Instant now) {
  if (event.kind == Event::Kind::socket) {
    const auto it = context_.users.find(event.socket);
    if (it != context_.users.end()) it->second->on_socket(event.socket, event.bits, now);
    return;
  }
  switch (event.tuple.protocol) {
    case Protocol::tcp:
      return tcp_.on_forward(event, now);
    case Protocol::udp:
      return udp_.on_forward(event, now);
    case Protocol::icmp:
      return echo_.on_forward(event, now);
    default:
      return context_.stack.forward_drop(event.flow);
  }
}

Instant Gateway::next_deadline() {
  Instant deadline = earlier(tcp_.next_deadline(), udp_.next_deadline());
  deadline = earlier(deadline, echo_.next_deadline());
  for (const PublishedUdp& port : published_udp_) {
    deadline = earlier(deadline, port.next_deadline());
  }
  return deadline;
}

void Gateway::run(Instant now) {
  tcp_.expire(now);
  udp_.expire(now);
  echo_.expire(now);
  for (PublishedUdp& port : published_udp_) port.expire(now);
}

void Gateway::after_turn(Instant) {
  tcp_.collect();
  udp_.collect();
  echo_.collect();
}

}  // namespace tidewire::gateway
