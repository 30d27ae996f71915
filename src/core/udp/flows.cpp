// Flows to foreign addresses that wait for an owner's decision.
#include <algorithm>

#include "core/udp/sockets.hpp"

namespace tidewire::udp {

// The first datagram makes an event; what follows before the decision waits behind it.
void Sockets::offer(const Incoming& in) noexcept {
  constexpr std::size_t kHeldBytes = 64 * 1024;
  const ip::Packet& packet = in.packet;
  const Key key{packet.destination, packet.source, in.meta.destination.port, in.meta.source.port,
                in.kind};
  if (const std::uint32_t* known = flow_table_.find(key)) {
    return queue(flows_.at_index(*known)->received, in, kHeldBytes);
  }
  Flow* flow = flows_.acquire(context_.memory);
  if (flow == nullptr) return context_.drop(DropReason::flow_limit, packet.interface);
  const SlabHandle handle = flows_.handle_of(*flow);
  if (flow_table_.insert(key, handle.index).value == nullptr) {
    flows_.release(*flow);
    return context_.drop(DropReason::no_memory, packet.interface);
  }
  flow->key = key;
  flow->protocol = packet.protocol;
  flow->interface = packet.interface;
  Writer writer{flow->quote};
  writer.bytes(packet.ip_header.first(std::min<std::size_t>(packet.ip_header.size(), 60)));
  flow->header_len = static_cast<std::uint8_t>(writer.written());
  writer.bytes(packet.transport.first(std::min<std::size_t>(packet.transport.size(), 8)));
  flow->quote_len = static_cast<std::uint8_t>(writer.written());
  queue(flow->received, in, kHeldBytes);
  Event event;
  event.kind = Event::Kind::forward;
  event.flow = {packet.protocol, handle.index, handle.generation};
  event.tuple = {packet.protocol, in.meta.destination, in.meta.source};
  event.interface = packet.interface;
  context_.events.push_forward(event);
}

Sockets::Flow* Sockets::get_flow(FlowId id) noexcept {
  return flows_.get({id.index, id.generation});
}

void Sockets::remove_flow(Flow& flow) noexcept {
  (void)flow_table_.erase(flow.key);
  flows_.release(flow);
}

SocketResult<SocketId> Sockets::forward_accept(FlowId id) noexcept {
  Flow* flow = get_flow(id);
  if (flow == nullptr) return fail(SocketError::unknown_socket);
  const bool udp = flow->protocol == Protocol::udp;
  const auto opened = open(udp ? SocketKind::udp : SocketKind::icmp, flow->key.local.family());
  if (!opened) return opened;
  Socket& socket = *get(*opened);
  socket.transparent = socket.bound = socket.connected = true;
  socket.local = {flow->key.local, flow->key.local_port, 0};
  socket.remote = {flow->key.remote, flow->key.remote_port, 0};
  if (auto hashed = hash(socket); !hashed) {
    socket.connected = false;
    release(socket);
    return fail(hashed.error());
  }
  socket.received.swap(flow->received);
  socket.datagrams_received = socket.received.count();
  remove_flow(*flow);
  update(socket);
  return *opened;
}

void Sockets::forward_reject(FlowId id, ForwardReject how) noexcept {
  Flow* flow = get_flow(id);
  if (flow == nullptr) return;
  ip::Complaint why = ip::Complaint::port_unreachable;
  switch (how) {
    case ForwardReject::host_unreachable:
      why = ip::Complaint::host_unreachable;
      break;
    case ForwardReject::network_unreachable:
      why = ip::Complaint::net_unreachable;
      break;
    case ForwardReject::prohibited:
      why = ip::Complaint::prohibited;
      break;
    case ForwardReject::reset:
    case ForwardReject::port_unreachable:
      break;
  }
  const Bytes quote = Bytes{flow->quote}.first(flow->quote_len);
  // The stack answers for the foreign address, as its owner would.
  ip_.complain({flow->interface, flow->key.remote, flow->key.local,
                static_cast<std::uint8_t>(flow->protocol), quote.first(flow->header_len),
                quote.subspan(flow->header_len), false},
               why);
  remove_flow(*flow);
}

void Sockets::forward_drop(FlowId id) noexcept {
  if (Flow* flow = get_flow(id)) remove_flow(*flow);
}

}  // namespace tidewire::udp
