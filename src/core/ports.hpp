// The port registry: who holds which (protocol, address, port), and the choice of ephemeral ports.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "base/result.hpp"
#include "core/config.hpp"
#include "core/context.hpp"
#include "core/socket_error.hpp"
#include "core/types.hpp"

namespace tidewire {

/// A port a socket holds. Value 0: none.
using BindId = std::uint32_t;

struct BindRequest {
  Protocol protocol = Protocol::tcp;
  Endpoint local;       ///< address may be unspecified (wildcard); port not 0
  bool v6_only = true;  ///< a v6 wildcard that is not v6_only conflicts with v4 as well
  bool reuse_address = false;
  bool reuse_port = false;
  InterfaceId interface = kNoInterface;  ///< SO_BINDTODEVICE
};

/// Answers whether a connection with this exact (local, remote) exists; used to share a local port
/// between connections to different peers.
class TupleLookup {
 public:
  virtual bool in_use(Protocol protocol, const Endpoint& local,
                      const Endpoint& remote) const noexcept = 0;

 protected:
  ~TupleLookup() = default;
};

/// Conflict rules as Linux has them: two binds of one port conflict if their addresses overlap,
/// unless both set reuse_port, or both set reuse_address and neither listens (TCP; UDP: always).
class PortRegistry {
 public:
  PortRegistry(Context& context) noexcept;
  ~PortRegistry();
  PortRegistry(const PortRegistry&) = delete;
  PortRegistry& operator=(const PortRegistry&) = delete;

  /// address_in_use, no_buffers.
  Result<BindId, SocketError> bind(const BindRequest& request) noexcept;
  /// bind() to port 0: a free port of the ephemeral range in the order of RFC 6056 §3.3.3;
  /// address_in_use when there is none. The port is written to request.local.port. Of several
  /// shards, each gets those datagram ports that belong to it.
  Result<BindId, SocketError> bind_ephemeral(BindRequest& request) noexcept;
  /// connect() without bind: a port whose tuple to `remote` is free, shared with connections to
  /// other peers but not with explicit binds; address_not_available when there is none. Of several
  /// shards, each gets ports to which the peer's answers come to it.
  Result<BindId, SocketError> bind_for_connect(BindRequest& request, const Endpoint& remote,
                                               const TupleLookup& tuples) noexcept;
  /// True if what `remote` sends to `local` comes to this shard.
  bool comes_here(Protocol protocol, const Endpoint& local, const Endpoint& remote) const noexcept;
  /// The holder starts (or stops) to listen; address_in_use if somebody else listens already.
  Result<void, SocketError> set_listening(BindId bind, bool listening) noexcept;
  /// One more connection uses the same port (an accepted one, or TIME-WAIT that outlives a socket).
  BindId share(BindId bind) noexcept;
  void release(BindId bind) noexcept;

 private:
  struct Impl;
  Context& context_;
  Impl* impl_ = nullptr;
};

}  // namespace tidewire
