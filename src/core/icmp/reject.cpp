// ICMP errors about a SYN that a forwarding owner turned away.
#include <array>

#include "core/ip/layer.hpp"
#include "wire/ipv4.hpp"

namespace tidewire::ip {
namespace {

Complaint complaint_of(ForwardReject how) noexcept {
  switch (how) {
    case ForwardReject::host_unreachable:
      return Complaint::host_unreachable;
    case ForwardReject::network_unreachable:
      return Complaint::net_unreachable;
    case ForwardReject::prohibited:
      return Complaint::prohibited;
    case ForwardReject::reset:
    case ForwardReject::port_unreachable:
      break;
  }
  return Complaint::port_unreachable;
}

}  // namespace

void Layer::queue_reject(InterfaceId interface, const IpAddress& local, const IpAddress& remote,
                         Bytes transport, ForwardReject how) noexcept {
  if (!remote.is_v4()) return;
  // The header of the SYN is gone; what the peer needs of it is made again.
  std::array<std::byte, 20> header{};
  Writer writer{header};
  wire::Ipv4Repr repr;
  repr.source = remote;
  repr.destination = local;
  repr.protocol = static_cast<std::uint8_t>(Protocol::tcp);
  repr.dont_fragment = true;
  repr.payload_len = static_cast<std::uint16_t>(transport.size());
  wire::emit(repr, writer);
  complain({interface, remote, local, repr.protocol, header, transport, false}, complaint_of(how));
}

}  // namespace tidewire::ip
