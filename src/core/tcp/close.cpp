// Letting go: shutdown, close, abort.
#include "core/tcp/sockets.hpp"

namespace tidewire::tcp {

//= RFC 9293 §3.10.4
SocketResult<void> Sockets::shutdown(Connection& c, ShutdownHow how) noexcept {
  if (c.state == TcpState::listen) {
    // As Linux: shutting a listener down for reading stops it.
    if (how == ShutdownHow::write) return fail(SocketError::not_connected);
    close_listener(c);
    s.set_state(c, TcpState::closed);
    s.update_events(c);
    return {};
  }
  if (!is_synchronized(c.state) && c.state != TcpState::syn_received) {
    return fail(SocketError::not_connected);
  }
  if (how != ShutdownHow::write) c.read_shut = true;
  if (how != ShutdownHow::read && !c.fin_queued) {
    c.fin_queued = true;
    if (is_synchronized(c.state)) s.set_state(c, next_phase(c.state, CloseEvent::close));
    s.mark_ready(c);
  }
  s.update_events(c);
  return {};
}

void Sockets::close(Connection& c) noexcept {
  c.owned = false;
  switch (c.state) {
    case TcpState::closed:
      break;
    case TcpState::listen:
      close_listener(c);
      s.set_state(c, TcpState::closed);
      break;
    case TcpState::syn_sent:
      s.enter_closed(c, SocketError::none);
      break;
    default: {
      //= RFC 1122 §4.2.2.13; RFC 9293 §3.6.1 SHLD-3
      // Data nobody will read: the peer is told with a reset.
      const bool unread = c.active != nullptr && !c.active->rcv_ring.empty();
      if ((unread && c.state != TcpState::time_wait) || c.settings.linger_ms == 0) {
        s.reset_peer(c, SocketError::none);
        break;
      }
      if (!c.fin_queued) {
        c.fin_queued = true;
        if (is_synchronized(c.state)) s.set_state(c, next_phase(c.state, CloseEvent::close));
      }
      c.read_shut = true;
      if (c.state == TcpState::fin_wait_2) s.arm_orphan(c);
      s.mark_ready(c);
    }
  }
  (void)s.reap(c);
}

//= RFC 9293 §3.10.5
void Sockets::abort(Connection& c) noexcept {
  c.owned = false;
  if (c.state == TcpState::listen) {
    close_listener(c);
    s.set_state(c, TcpState::closed);
  } else {
    s.reset_peer(c, SocketError::connection_aborted);
  }
  (void)s.reap(c);
}

/// Connections that nobody accepted are reset, handshakes under way forgotten.
void Sockets::close_listener(Connection& c) noexcept {
  const std::uint32_t self = s.connections.index_of(c);
  Listener& l = *c.listener;
  const ListenKey key{c.tuple.local, c.tuple.local_port};
  if (std::uint32_t* first = s.listen_table.find(key)) {
    if (*first == self && l.next_same == kNoIndex) {
      (void)s.listen_table.erase(key);
    } else if (*first == self) {
      *first = l.next_same;
    } else {
      for (std::uint32_t i = *first; i != kNoIndex;) {
        Listener& other = *s.connections.at_index(i)->listener;
        if (other.next_same == self) other.next_same = l.next_same;
        i = other.next_same;
      }
    }
  }
  while (l.first != kNoIndex) {
    Connection& ready = *s.connections.at_index(l.first);
    l.first = ready.accept_next;
    ready.accept_by = ready.accept_next = kNoIndex;
    s.reset_peer(ready, SocketError::connection_aborted);
    (void)s.reap(ready);
  }
  if (l.strays > 0) {
    s.connections.for_each([&](Connection& stray) noexcept {
      if (!stray.stray || stray.accept_by != self) return;
      s.reset_peer(stray, SocketError::connection_aborted);
      (void)s.reap(stray);
    });
  }
  if (l.fast_open_pending > 0) {
    s.connections.for_each([&](Connection& pending) noexcept {
      if (pending.fast_open_by == self) pending.fast_open_by = kNoIndex;
    });
  }
  if (l.half_open > 0) {
    s.half_opens.for_each([&](HalfOpen& h) noexcept {
      if (h.listener == self) s.release(h);
    });
  }
  s.listeners.release(l);
  c.listener = nullptr;
  (void)s.ports.set_listening(c.bind, false);
}

}  // namespace tidewire::tcp
