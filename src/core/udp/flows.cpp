// Flows to foreign addresses that wait for an owner's decision.
#include <algorithm>

#include "core/udp/sockets.hpp"
#include "wire/ipv4.hpp"
#include "wire/udp.hpp"

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
  if (context_.events.push_forward(event)) return;
  context_.drop(DropReason::no_memory, packet.interface);
  remove_flow(*flow);
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

namespace {

ip::Complaint complaint_of(ForwardReject how) noexcept {
  switch (how) {
    case ForwardReject::host_unreachable:
      return ip::Complaint::host_unreachable;
    case ForwardReject::network_unreachable:
      return ip::Complaint::net_unreachable;
    case ForwardReject::prohibited:
      return ip::Complaint::prohibited;
    case ForwardReject::reset:
    case ForwardReject::port_unreachable:
      break;
  }
  return ip::Complaint::port_unreachable;
}

}  // namespace

void Sockets::forward_reject(FlowId id, ForwardReject how) noexcept {
  Flow* flow = get_flow(id);
  if (flow == nullptr) return;
  const Bytes quote = Bytes{flow->quote}.first(flow->quote_len);
  // The stack answers for the foreign address, as its owner would.
  ip_.complain({flow->interface, flow->key.remote, flow->key.local,
                static_cast<std::uint8_t>(flow->protocol), quote.first(flow->header_len),
                quote.subspan(flow->header_len), false},
               complaint_of(how));
  remove_flow(*flow);
}

// The datagram itself is gone by now; its headers are written again for the quote.
void Sockets::forward_refuse(SocketId id, ForwardReject how) noexcept {
  Socket* socket = get(id);
  if (socket == nullptr) return;
  const bool udp_v4 =
      socket->transparent && socket->protocol == Protocol::udp && socket->remote.address.is_v4();
  if (udp_v4) {
    std::array<std::byte, wire::kIpv4MinHeaderLen + wire::kUdpHeaderLen> quote{};
    Writer writer{quote};
    wire::emit(wire::Ipv4Repr{.source = socket->remote.address,
                              .destination = socket->local.address,
                              .protocol = wire::protocol::udp,
                              .payload_len = wire::kUdpHeaderLen},
               writer);
    wire::emit(wire::UdpRepr{.source_port = socket->remote.port,
                             .destination_port = socket->local.port,
                             .payload_len = 0},
               writer, std::uint16_t{0});
    const Bytes bytes{quote};
    ip_.complain(
        {socket->path.interface, socket->remote.address, socket->local.address, wire::protocol::udp,
         bytes.first(wire::kIpv4MinHeaderLen), bytes.subspan(wire::kIpv4MinHeaderLen), false},
        complaint_of(how));
  }
  close(id);
}

void Sockets::forward_drop(FlowId id) noexcept {
  if (Flow* flow = get_flow(id)) remove_flow(*flow);
}

}  // namespace tidewire::udp
