// Socket calls of TCP Fast Open (RFC 7413): data before the handshake.
#include <algorithm>

#include "core/tcp/sockets.hpp"
#include "wire/load.hpp"

namespace tidewire::tcp {
namespace {

void write_key(const RandomSeed& key, std::byte* at) noexcept {
  std::memcpy(at, &key.low, 8);
  std::memcpy(at + 8, &key.high, 8);
}

}  // namespace

//= RFC 7413 §4.1.3.1, §4.2.1
/// Decides what option the SYN will carry; true if data may go with it.
bool Sockets::fast_open_known(Connection& c) noexcept {
  const FastOpen::Known known = s.fast_open.find(c.tuple);
  if (known.refused) return false;
  if ((s.config().fast_open & kFastOpenClientNoCookie) != 0 || c.settings.fast_open_no_cookie) {
    return true;
  }
  c.syn_fast_open = true;
  if (known.cookie.size > 0) return true;
  c.fast_open_failure = FastOpenFailure::no_cookie;
  return false;
}

//= RFC 7413 §4.1.3
/// Room for data in the SYN: a segment by the cached MSS, with all options that anyone might add.
MutBytes Sockets::syn_space(Connection& c, std::size_t wanted) noexcept {
  std::uint32_t mss =
      std::min(s.path_mss(c.tuple, c.settings.bound), s.advertised_mss(c.tuple, c.settings));
  if (const std::uint16_t known = s.fast_open.find(c.tuple).mss; known != 0) {
    mss = std::min<std::uint32_t>(mss, known);
  }
  if (mss <= wire::kTcpMaxOptionsLen) return {};
  const std::size_t limit = std::min<std::size_t>(mss - wire::kTcpMaxOptionsLen, 0xffff);
  if (c.syn_ring == nullptr) c.syn_ring = s.syn_rings.acquire(s.pool, limit);
  return c.syn_ring == nullptr ? MutBytes{} : c.syn_ring->space(wanted);
}

std::size_t Sockets::put_in_syn(Connection& c, Bytes data) noexcept {
  if (data.empty()) return 0;
  const MutBytes first = syn_space(c, data.size());
  if (first.empty()) return 0;
  const std::size_t taken = c.syn_ring->write(data);
  c.syn_text = static_cast<std::uint16_t>(c.syn_ring->size());
  return taken;
}

SocketResult<std::size_t> Sockets::connect_send(Connection& c,
                                                const std::optional<Endpoint>& remote, Bytes data,
                                                const TupleLookup& tuples) noexcept {
  if ((s.config().fast_open & kFastOpenClient) == 0) return fail(SocketError::not_supported);
  std::size_t taken = 0;
  if (c.syn_deferred) {
    taken = put_in_syn(c, data);
  } else {
    if (const auto r = prepare_connect(c, remote, tuples); !r) return fail(r.error());
    if (fast_open_known(c)) taken = put_in_syn(c, data);
  }
  launch_syn(c);
  return taken;
}

//= RFC 7413 §4.2.2
/// The rules are those of Linux's TCP_FASTOPEN, TCP_FASTOPEN_CONNECT and TCP_FASTOPEN_NO_COOKIE.
SocketResult<void> Sockets::set_fast_open(Connection& c, SocketOption option,
                                          std::int64_t value) noexcept {
  Settings& o = c.settings;
  const bool closed = c.state == TcpState::closed;
  const bool flag = option != SocketOption::fast_open;
  if (value < 0 || (flag && value > 1)) return fail(SocketError::invalid);
  if (option == SocketOption::fast_open_connect) {
    if ((s.config().fast_open & kFastOpenClient) == 0) return fail(SocketError::not_supported);
    if (!closed) return fail(SocketError::invalid);
    o.fast_open_connect = value != 0;
    return {};
  }
  if (!closed && c.state != TcpState::listen) return fail(SocketError::invalid);
  if (flag) {
    o.fast_open_no_cookie = value != 0;
  } else {
    o.fast_open_pending =
        static_cast<std::uint16_t>(std::min<std::int64_t>({value, s.config().somaxconn, 0xffff}));
  }
  return {};
}

SocketResult<void> Sockets::set_fast_open_keys(Connection& c, Bytes keys) noexcept {
  const auto read = FastOpenKeys::read(keys);
  if (!read) return fail(SocketError::invalid);
  if (c.fast_open_keys == nullptr) c.fast_open_keys = s.fast_open_keys.acquire();
  if (c.fast_open_keys == nullptr) return fail(SocketError::no_buffers);
  *c.fast_open_keys = *read;
  return {};
}

std::size_t Sockets::fast_open_keys(const Connection& c, MutBytes out) const noexcept {
  const FastOpenKeys& keys = s.keys_of(c);
  std::array<std::byte, 2 * FastOpenKeys::kKeyOctets> octets{};
  write_key(keys.primary, octets.data());
  if (keys.backup) write_key(*keys.backup, octets.data() + FastOpenKeys::kKeyOctets);
  const std::size_t size = (keys.backup ? 2 : 1) * FastOpenKeys::kKeyOctets;
  std::copy_n(octets.begin(), std::min(size, out.size()), out.begin());
  return size;
}

}  // namespace tidewire::tcp
