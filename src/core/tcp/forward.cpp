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
  Connection* c = input_.promote(*h, settings);
  if (c == nullptr) return fail(SocketError::no_buffers);
  c->owned = true;
  c->owe_syn = true;
  c->family_v6 = !c->tuple.is_v4();
  s.mark_ready(*c);
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
  (void)how;
  input_.reply_reset(syn);
}

void Sockets::forward_drop(FlowId flow) noexcept {
  if (HalfOpen* h = find_held(flow)) s.release(*h);
}

}  // namespace tidewire::tcp
