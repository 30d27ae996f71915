// The host's own sockets behind the interception: tells faults of the interception from faults of
// the stack.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "front/posix/backend.hpp"
#include "front/posix/fd.hpp"

namespace tidewire::posix {

class KernelBackend final : public Backend {
 public:
  KernelBackend();

  int descriptor() const noexcept override { return epoll_.get(); }
  void process(Instant now) override;
  Instant next_deadline() override { return Instant::never(); }
  std::optional<BackendEvent> poll_event() override;

  Result<SocketRef, int> open(Transport transport, Family family) override;
  void close(SocketRef socket, Instant now) override;
  void abort(SocketRef socket, Instant now) override;
  int bind(SocketRef socket, const Endpoint& local) override;
  int connect(SocketRef socket, const Endpoint& remote, Instant now) override;
  Result<std::size_t, int> connect_send(SocketRef socket, const Endpoint& remote, Bytes data,
                                        Instant now) override;
  int disconnect(SocketRef socket) override;
  int listen(SocketRef socket, int backlog, Instant now) override;
  Result<SocketRef, int> accept(SocketRef listener, Instant now) override;

  StreamState state(SocketRef socket) override;
  std::span<const MutBytes> send_space(SocketRef socket) override;
  void sent(SocketRef socket, std::size_t bytes, bool urgent_end, Instant now) override;
  std::span<const Bytes> received(SocketRef socket) override;
  void consumed(SocketRef socket, std::size_t bytes, Instant now) override;
  std::optional<std::byte> take_urgent(SocketRef socket, Instant now) override;
  void shutdown_send(SocketRef socket, Instant now) override;
  std::size_t unacknowledged(SocketRef socket) override;

  int send_datagram(SocketRef socket, Bytes payload, const SendMeta& meta, Instant now) override;
  Result<Datagram, int> receive_datagram(SocketRef socket, MutBytes buffer) override;
  std::optional<QueuedError> take_queued_error(SocketRef socket, MutBytes quote) override;

  Endpoint local(SocketRef socket) override;
  Result<Endpoint, int> remote(SocketRef socket) override;
  int set_option(SocketRef socket, Option option, int value, Instant now) override;
  Result<int, int> get_option(SocketRef socket, Option option) override;
  int membership(SocketRef socket, const Membership& change) override;
  int set_fast_open_keys(SocketRef socket, Bytes keys, Instant now) override;
  std::size_t fast_open_keys(SocketRef socket, MutBytes out) override;
  int set_congestion(SocketRef socket, std::string_view name) override;
  std::string congestion(SocketRef socket) override;
  std::size_t info(SocketRef socket, MutBytes out) override;
  std::span<const InterfaceInfo> interfaces() override { return {}; }

 private:
  struct Entry {
    Fd fd;
    Transport transport = Transport::tcp;
    int domain = 0;
    bool connecting = false;
    bool connected = false;
    bool readable = true;
    bool fin = false;
    bool urgent_taken = false;  ///< the byte at the mark was taken; reading may pass it
    bool shut = false;          ///< FIN wanted once `out` is empty
    bool orphan = false;        ///< closed by its owner; lives until `out` is empty
    int error = 0;
    Endpoint last_remote;
    std::vector<std::byte> in;  ///< read from the kernel, not yet consumed
    std::size_t in_at = 0;
    std::vector<std::byte> out;  ///< filled by the owner; what the kernel had no room for
    std::size_t out_at = 0;
    std::size_t out_end = 0;
    bool out_urgent = false;
  };
  Entry* entry(SocketRef socket);
  SocketRef add(Fd fd, Transport transport, int domain, bool connected);
  void look(SocketRef socket, std::uint32_t events);
  bool flush(Entry& e);
  void fill(Entry& e);

  Fd epoll_;
  SocketRef last_ = 0;
  std::unordered_map<SocketRef, std::unique_ptr<Entry>> entries_;
  std::deque<BackendEvent> events_;
  MutBytes room_;
  Bytes data_;
};

}  // namespace tidewire::posix
