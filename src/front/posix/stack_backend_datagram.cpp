// Datagrams of the stack backend, and the rule for loopback addresses.
#include <algorithm>
#include <cerrno>

#include "front/abi/errno_map.hpp"
#include "front/posix/stack_backend.hpp"

namespace tidewire::posix {

// --- which ports this run holds ---

StackBackend::PortTable& StackBackend::ports_of(const Entry& e) {
  return e.transport == Transport::tcp ? tcp_ports_ : udp_ports_;
}

void StackBackend::claim_port(SocketRef socket, Entry& e) {
  if (e.claimed != 0 || e.transport == Transport::icmp_echo) return;
  const auto local = stack_.local_endpoint(e.id);
  if (!local || local->port == 0) return;
  e.claimed = local->port;
  ports_of(e)[e.claimed].push_back(socket);
}

void StackBackend::release_port(SocketRef socket, Entry& e) {
  if (e.claimed == 0) return;
  PortTable& table = ports_of(e);
  const auto found = table.find(e.claimed);
  e.claimed = 0;
  if (found == table.end()) return;
  std::erase(found->second, socket);
  if (found->second.empty()) table.erase(found);
}

// Whether a program of this run would get what is sent to this loopback address.
bool StackBackend::reached_here(const Entry& e, const Endpoint& to) {
  const PortTable& table = ports_of(e);
  const auto found = table.find(to.port);
  if (found == table.end()) return false;
  return std::ranges::any_of(found->second, [&](SocketRef ref) {
    const auto local = stack_.local_endpoint(entry(ref)->id);
    if (!local) return false;
    const IpAddress address = local->address.unmapped();
    return address.is_unspecified() || address == to.address;
  });
}

// 127.x.y.z:PORT is a program of this run, if one has the port, and else the host's own.
std::optional<Endpoint> StackBackend::through_gateway(Entry& e, const Endpoint& to) {
  if (!config_.host_gateway || e.transport == Transport::icmp_echo) return std::nullopt;
  Endpoint meant = to;
  if (meant.address.is_v4() && meant.address.is_unspecified()) {
    meant.address = IpAddress::loopback(Family::v4);
  }
  if (!meant.address.is_v4() || !meant.address.is_loopback()) return std::nullopt;
  // A socket that is bound to loopback cannot leave it.
  if (e.bound && e.bound->address.is_loopback()) return std::nullopt;
  if (reached_here(e, meant)) return std::nullopt;
  return Endpoint{*config_.host_gateway, to.port, 0};
}

// --- datagrams ---

int StackBackend::send_datagram(SocketRef socket, Bytes payload, const SendMeta& meta,
                                Instant now) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  DatagramTarget target;
  if (meta.destination) {
    Endpoint to = *meta.destination;
    if (const auto detour = through_gateway(*e, to)) {
      e->host_ports[to.port] = to.address;
      to = *detour;
    }
    target.destination = outward(*e, to);
  }
  if (meta.source) target.source = e->family == Family::v6 ? meta.source->mapped() : *meta.source;
  if (meta.interface_index != 0) target.interface = interface_of(meta.interface_index, {});
  target.ttl = static_cast<std::int16_t>(meta.hop_limit);
  target.tos = static_cast<std::int16_t>(meta.traffic_class);
  const auto sent = stack_.send_datagram(e->id, std::span<const Bytes>(&payload, 1), target, now);
  claim_port(socket, *e);
  return sent ? 0 : errno_of(sent.error());
}

Result<Datagram, int> StackBackend::receive_datagram(SocketRef socket, MutBytes buffer) {
  Entry* e = entry(socket);
  if (e == nullptr) return fail(EBADF);
  if (e->error != 0) return fail(std::exchange(e->error, 0));
  const auto got = stack_.receive_datagram(e->id, buffer, false, now_);
  if (!got) return fail(errno_of(got.error()));
  Datagram about;
  about.source = got->source;
  about.source.address = about.source.address.unmapped();
  about.destination = got->destination;
  about.destination.address = about.destination.address.unmapped();
  about.interface_index = index_of(got->interface);
  about.hop_limit = got->ttl;
  about.traffic_class = got->tos;
  about.size = got->size;
  if (config_.host_gateway && about.source.address == *config_.host_gateway) {
    // An answer of the host to what was sent to a loopback address.
    const auto alias = e->host_ports.find(about.source.port);
    if (alias != e->host_ports.end()) about.source.address = alias->second;
    if (e->host_alias && e->host_alias->port == about.source.port) about.source = *e->host_alias;
  }
  return about;
}

std::optional<QueuedError> StackBackend::take_queued_error(SocketRef socket, MutBytes quote) {
  Entry* e = entry(socket);
  if (e == nullptr) return std::nullopt;
  const auto info = stack_.take_error_info(e->id, quote);
  if (!info) return std::nullopt;
  if ((stack_.readiness(e->id) & kErrorQueue) == 0) {
    (void)stack_.take_error(e->id);
    e->error = 0;
  }
  QueuedError found;
  found.error = errno_of(info->error);
  found.local = info->local;
  found.type = info->icmp_type;
  found.code = info->icmp_code;
  found.info = info->info;
  found.offender = info->offender.unmapped();
  found.destination = info->destination;
  found.destination.address = found.destination.address.unmapped();
  found.size = info->quoted;
  const auto alias = e->host_ports.find(found.destination.port);
  const bool detoured = config_.host_gateway && found.destination.address == *config_.host_gateway;
  if (detoured && alias != e->host_ports.end()) {
    found.destination.address = alias->second;
    if (found.offender == *config_.host_gateway) found.offender = alias->second;
  }
  return found;
}

InterfaceId StackBackend::interface_of(std::uint32_t index, const IpAddress& address) const {
  for (const auto& interface : config_.interfaces) {
    if (index != 0 && interface.info.index == index) return interface.id;
    if (index == 0 && !address.is_unspecified() && interface.info.address.address == address) {
      return interface.id;
    }
  }
  return kNoInterface;
}

std::uint32_t StackBackend::index_of(InterfaceId id) const {
  for (const auto& interface : config_.interfaces) {
    if (interface.id == id) return interface.info.index;
  }
  return 0;
}

int StackBackend::membership(SocketRef socket, const Membership& change) {
  Entry* e = entry(socket);
  if (e == nullptr) return EBADF;
  const InterfaceId interface = interface_of(change.interface_index, change.interface_address);
  const bool named = change.interface_index != 0 || !change.interface_address.is_unspecified();
  if (named && interface == kNoInterface) return ENODEV;
  switch (change.action) {
    case Membership::Action::join: {
      const auto done = stack_.join_group(e->id, change.group, interface, now_);
      return done ? 0 : errno_of(done.error());
    }
    case Membership::Action::leave: {
      const auto done = stack_.leave_group(e->id, change.group, interface, now_);
      return done ? 0 : errno_of(done.error());
    }
    case Membership::Action::choose_interface: {
      const auto done =
          stack_.set_option(e->id, SocketOption::multicast_interface, interface, now_);
      return done ? 0 : errno_of(done.error());
    }
  }
  return EINVAL;
}

}  // namespace tidewire::posix
