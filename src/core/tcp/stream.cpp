// Moving bytes between the application and the rings.
#include <algorithm>

#include "core/tcp/sockets.hpp"

namespace tidewire::tcp {
namespace {

SocketError take(SocketError& error) noexcept { return std::exchange(error, SocketError::none); }

}  // namespace

//= RFC 9293 §3.10.2
SocketResult<void> Sockets::check_send(Connection& c) noexcept {
  if (c.error != SocketError::none) {
    const SocketError error = take(c.error);
    s.update_events(c);
    return fail(error);
  }
  if (c.state == TcpState::syn_sent || (c.state == TcpState::syn_received && !c.connected)) {
    return fail(c.fin_queued ? SocketError::broken_pipe : SocketError::would_block);
  }
  const bool open = may_send(c.state) || c.fast_open_pending;
  if (c.fin_queued || !open || c.active == nullptr) {
    return fail(SocketError::broken_pipe);
  }
  return {};
}

SocketResult<std::size_t> Sockets::send(Connection& c, Bytes data, SendOptions options) noexcept {
  if (c.syn_deferred) [[unlikely]] {
    const std::size_t taken = put_in_syn(c, data);
    launch_syn(c);
    if (taken == 0 && !data.empty()) return fail(SocketError::would_block);
    return taken;
  }
  if (const auto r = check_send(c); !r) return fail(r.error());
  if (data.empty()) return std::size_t{0};
  std::size_t written = c.active->snd_ring.write(data);
  c.active->no_room = written < data.size();
  if (written == 0 && c.active->snd_ring.room() > 0) [[unlikely]] {
    (void)s.shed_until([&]() noexcept { return (written = c.active->snd_ring.write(data)) > 0; });
  }
  if (written == 0) {
    // Without memory nothing but an ACK makes room; if none is to come the caller must know.
    const bool no_memory = c.active->snd_ring.room() > 0;
    c.active->starved = no_memory && !c.active->snd_ring.empty();
    s.update_events(c);
    return fail(no_memory && !c.active->starved ? SocketError::no_buffers
                                                : SocketError::would_block);
  }
  options.urgent = options.urgent && written == data.size();
  after_write(c, written, options);
  return written;
}

bool Sockets::may_write(const Connection& c) noexcept {
  return (may_send(c.state) || c.fast_open_pending) && !c.fin_queued && c.active != nullptr &&
         c.error == SocketError::none;
}

MutBytes Sockets::send_space(Connection& c, std::size_t wanted) noexcept {
  if (c.syn_deferred) [[unlikely]] {
    return syn_space(c, wanted);
  }
  return may_write(c) ? c.active->snd_ring.space(wanted) : MutBytes{};
}

std::size_t Sockets::send_spaces(Connection& c, std::span<MutBytes> out,
                                 std::size_t wanted) noexcept {
  if (c.syn_deferred || c.active == nullptr || out.empty()) [[unlikely]] {
    const MutBytes only = out.empty() ? MutBytes{} : send_space(c, wanted);
    if (!only.empty()) out[0] = only;
    return only.empty() ? 0 : 1;
  }
  return may_write(c) ? c.active->snd_ring.spaces(out, wanted) : 0;
}

SocketResult<void> Sockets::sent(Connection& c, std::size_t bytes, SendOptions options) noexcept {
  if (c.syn_deferred && c.syn_ring != nullptr) [[unlikely]] {
    c.syn_ring->commit(bytes);
    c.syn_text = static_cast<std::uint16_t>(c.syn_ring->size());
    launch_syn(c);
    return {};
  }
  if (const auto r = check_send(c); !r) {
    if (c.active != nullptr) c.active->snd_ring.commit(0);
    return r;
  }
  c.active->snd_ring.commit(bytes);
  if (bytes > 0) after_write(c, bytes, options);
  return {};
}

void Sockets::after_write(Connection& c, std::size_t, SendOptions options) noexcept {
  c.stats.times.start(SendTimes::Why::busy, s.now());
  c.active->more = options.more;
  c.active->pushed = !options.more;
  //= RFC 9293 §3.8.5 MUST-30
  if (options.urgent) {
    c.snd.up = end_of_data(c);
    c.urgent_out = true;
  }
  s.mark_ready(c);
  s.update_written(c);
}

/// In-order bytes before the urgent octet, if it still lies ahead of the reader.
std::optional<std::uint32_t> Sockets::bytes_to_mark(const Connection& c) const noexcept {
  if (!c.urgent_in || c.active == nullptr) return std::nullopt;
  const Seq end = c.rcv.nxt - (c.fin_received ? 1U : 0U);
  const Seq read = end - static_cast<std::uint32_t>(c.active->rcv_ring.size());
  if (c.rcv.up.before(read)) return std::nullopt;
  return Seq::span(read, c.rcv.up);
}

/// The reader stands at the urgent octet and it is not part of the stream: it is set aside.
void Sockets::pass_urgent(Connection& c) noexcept {
  RecvRing& ring = c.active->rcv_ring;
  if (!c.urgent_taken && !c.urgent_held) {
    c.urgent_byte = std::to_integer<std::uint8_t>(ring.front()[0]);
    c.urgent_held = true;
  }
  ring.consume(1);
  if (c.urgent_taken) c.urgent_in = false;
}

//= RFC 9293 §3.10.3
SocketResult<std::size_t> Sockets::receive(Connection& c, MutBytes out,
                                           ReceiveOptions options) noexcept {
  if (options.urgent) return receive_urgent(c, out, options.peek);
  // Whatever it was before: a listener may have been a connection.
  if (c.state == TcpState::listen) return fail(SocketError::not_connected);
  RecvRing* ring = c.active != nullptr ? &c.active->rcv_ring : nullptr;
  if (c.connected && ring != nullptr && !ring->empty()) {
    auto mark = bytes_to_mark(c);
    if (mark == 0U && !c.settings.oob_inline) {
      pass_urgent(c);
      mark = std::nullopt;
    } else if (mark == 0U) {
      mark = std::nullopt;  // the octet is read as any other
    }
    // Reading stops at the mark, so that the reader can see where it is.
    if (mark && *mark < out.size()) out = out.first(*mark);
    const std::size_t n = options.peek ? ring->peek(out) : ring->read(out);
    if (n > 0 || out.empty()) {
      if (!options.peek) after_read(c, n);
      return n;
    }
  }
  if (c.error != SocketError::none) {
    const SocketError error = take(c.error);
    s.update_events(c);
    return fail(error);
  }
  if (c.fin_received || c.read_shut) return std::size_t{0};
  if (c.state == TcpState::closed && c.connected) return std::size_t{0};
  if (c.state == TcpState::closed) return fail(SocketError::not_connected);
  return fail(SocketError::would_block);
}

//= RFC 9293 §3.8.5 MUST-33
SocketResult<std::size_t> Sockets::receive_urgent(Connection& c, MutBytes out, bool peek) noexcept {
  if (!c.urgent_in || c.settings.oob_inline || c.urgent_taken) return fail(SocketError::invalid);
  std::byte octet{};
  if (c.urgent_held) {
    octet = std::byte{c.urgent_byte};
  } else {
    const auto ahead = bytes_to_mark(c);
    if (!ahead || *ahead >= c.active->rcv_ring.size()) return fail(SocketError::would_block);
    (void)c.active->rcv_ring.peek(MutBytes{&octet, 1}, *ahead);
  }
  if (out.empty()) return std::size_t{0};
  out[0] = octet;
  if (!peek) {
    c.urgent_taken = true;
    if (c.urgent_held) c.urgent_in = false;
    c.urgent_held = false;
    s.update_events(c);
  }
  return std::size_t{1};
}

ReceivedBytes Sockets::received(const Connection& c) const noexcept {
  ReceivedBytes result;
  if (c.active == nullptr || !c.connected) {
    result.end_of_stream = c.fin_received || (c.state == TcpState::closed && c.connected);
    return result;
  }
  const RecvRing& ring = c.active->rcv_ring;
  std::size_t most = ring.size();
  std::size_t skip = 0;
  if (const auto mark = bytes_to_mark(c)) {
    if (*mark > 0) {
      most = std::min<std::size_t>(most, *mark);
    } else if (!c.settings.oob_inline && most > 0) {
      skip = 1;
    }
  }
  std::array<Bytes, 3> regions;
  const std::size_t count = ring.readable(regions, most);
  if (count > 0 && skip > 0) regions[0] = regions[0].subspan(skip);
  std::size_t first = 0;
  while (first < count && regions[first].empty()) ++first;
  if (first < count) result.first = regions[first];
  if (first + 1 < count) result.second = regions[first + 1];
  result.after_urgent = skip > 0 && !c.urgent_taken;
  result.end_of_stream =
      (c.fin_received || c.state == TcpState::closed) && result.size() + skip == ring.size();
  return result;
}

SocketResult<void> Sockets::consumed(Connection& c, std::size_t bytes) noexcept {
  if (c.active == nullptr) return bytes == 0 ? SocketResult<void>{} : fail(SocketError::invalid);
  RecvRing& ring = c.active->rcv_ring;
  if (bytes_to_mark(c) == 0U && !c.settings.oob_inline && !ring.empty()) pass_urgent(c);
  if (bytes > ring.size()) return fail(SocketError::invalid);
  ring.consume(bytes);
  after_read(c, bytes);
  return {};
}

void Sockets::after_read(Connection& c, std::size_t bytes) noexcept {
  RecvRing& ring = c.active->rcv_ring;
  if (c.urgent_in && c.urgent_taken && !bytes_to_mark(c)) c.urgent_in = false;
  if (c.urgent_in && c.settings.oob_inline && !bytes_to_mark(c)) c.urgent_in = false;
  if (may_receive(c.state) && !c.fin_received) {
    tune_receive_buffer(c, bytes);
    //= RFC 9293 §3.8.6.2.2 MUST-39
    const Shared::Space space = Shared::receive_space(c);
    if (c.rcv.window.worth_update(c.rcv.nxt, space.free, space.capacity, c.rcv.mss)) {
      if (!c.ack.owed_now()) c.ack.now();  // one that is owed tells the window too
      s.mark_ready(c);
    }
    s.consider_rest(c);
  } else if (c.state == TcpState::closed && ring.empty()) {
    s.actives.release(*c.active);
    c.active = nullptr;
  }
  s.update_read(c);
}

void Sockets::tune_receive_buffer(Connection& c, std::size_t bytes) noexcept {
  if (c.settings.receive_buffer_set) return;
  Active& a = *c.active;
  const auto wanted = a.tuner.on_read(bytes, c.rcv.mss, c.rtt.srtt(), s.now());
  if (!wanted) return;
  const auto limit =
      static_cast<std::size_t>(std::min<std::uint64_t>(*wanted, s.config().receive_buffer_max));
  if (limit > a.rcv_ring.limit() && !s.memory_short()) a.rcv_ring.set_limit(limit);
}

}  // namespace tidewire::tcp
