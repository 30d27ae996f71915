// SYNs held for a forwarding owner (a gateway).
#include "core/tcp/sockets.hpp"

namespace tidewire::tcp {

HalfOpen* Sockets::find_held(FlowId flow) noexcept {
  if (flow.protocol != Protocol::tcp) return nullptr;
  HalfOpen* h = s.half_opens.get({flow.index, flow.generation});
  return h != nullptr && h->held ? h : nullptr;
}

SocketResult<SocketId> Sockets::forward_accept(FlowId flow) noexcept {
  HalfOpen* h = find_held(flow);
  if (h == nullptr) return fail(SocketError::unknown_socket);
  Settings settings = Settings::from(s.config());
  Connection* c = input_.promote(*h, settings, {});
  if (c == nullptr) return fail(SocketError::no_buffers);
  c->owned = true;
  c->owe_syn = true;
  c->family_v6 = !c->tuple.is_v4();
  s.mark_ready(*c);
  s.arm(*c, TimerKind::retransmit, s.now() + s.config().rto_initial);
  return s.id_of(*c);
}

void Sockets::forward_reject(FlowId flow, ForwardReject how) noexcept {
  HalfOpen* h = find_held(flow);
  if (h == nullptr) return;
  Segment syn;
  syn.tuple = h->tuple;
  syn.seq = h->irs;
  syn.flags = wire::TcpFlag::syn;
  syn.interface = h->interface;
  s.release(*h);
  if (how == ForwardReject::reset || !syn.tuple.is_v4()) return input_.reply_reset(syn);
  wire::TcpRepr repr;
  repr.source_port = syn.tuple.remote_port;
  repr.destination_port = syn.tuple.local_port;
  repr.seq = syn.seq;
  repr.flags = syn.flags;
  std::array<std::byte, wire::kTcpMinHeaderLen> header{};
  Writer writer{header};
  wire::emit(repr, writer, 0);
  s.out.queue_reject(syn.interface, syn.tuple.local_address(), syn.tuple.remote_address(), header,
                     how);
}

void Sockets::forward_drop(FlowId flow) noexcept {
  if (HalfOpen* h = find_held(flow)) s.release(*h);
}

}  // namespace tidewire::tcp
