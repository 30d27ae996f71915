// Small programs for simulated hosts: transfers that check every byte, echo, ping-pong.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/host.hpp"

namespace tidewire::sim {

/// The bytes of a stream as a function of a seed and the offset, so that any piece of it can be
/// made and checked.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed = 0) noexcept : seed_(seed) {}
  std::byte at(std::uint64_t offset) const noexcept;
  void fill(std::uint64_t offset, MutBytes out) const noexcept;
  bool matches(std::uint64_t offset, Bytes bytes) const noexcept;

 private:
  std::uint64_t seed_;
};

/// What one end of a stream does.
struct StreamPlan {
  std::uint64_t send_total = 0;    ///< bytes to send, then the sending side is shut down
  std::uint64_t send_seed = 1;     ///< of the pattern it sends
  std::uint64_t expect_seed = 2;   ///< of the pattern it must receive
  bool in_place = false;           ///< use send_space/sent and received/consumed
  std::size_t read_chunk = 65536;  ///< most bytes read at once
  Duration read_pause;             ///< after each chunk
  bool answer_first = false;       ///< send only when the peer has finished
  std::uint32_t receive_buffer = 0, send_buffer = 0;  ///< 0: the stack's defaults
  bool keep_alive = false;  ///< a minute idle, then ten probes: a dead peer is noticed
};

/// Sets what the plan says about a socket's options; accepted sockets inherit them.
void set_options(Host& host, SocketId socket, const StreamPlan& plan);

/// One end of a TCP connection. Done when both directions have ended or an error was told.
class StreamPeer final : public Application {
 public:
  StreamPeer(Host& host, const StreamPlan& plan) : host_(host), plan_(plan) {}

  /// Starts an active open; an error ends it at once.
  void connect(const Endpoint& remote, const std::optional<Endpoint>& local = std::nullopt);
  void adopt(SocketId socket);

  void on_event(const Event& event, Instant now) override;
  Instant deadline() const override { return next_read_; }
  void run(Instant now) override;
  std::string waiting_for() const override;

  bool done() const noexcept { return done_; }
  /// SocketError::none: an orderly end.
  SocketError error() const noexcept { return error_; }
  bool intact() const noexcept { return intact_; }
  bool connected() const noexcept { return connected_; }
  bool saw_end() const noexcept { return saw_end_; }
  std::uint64_t bytes_sent() const noexcept { return sent_; }
  std::uint64_t bytes_received() const noexcept { return received_; }
  SocketId socket() const noexcept { return socket_; }
  Instant finished_at() const noexcept { return finished_at_; }

 private:
  void pump(Instant now);
  void write(Instant now);
  bool write_piece(Instant now);
  void read(Instant now);
  std::optional<std::size_t> read_piece(Instant now);
  void finish(SocketError error, Instant now);

  Host& host_;
  StreamPlan plan_;
  SocketId socket_;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  bool connected_ = false;
  bool shut_ = false;
  bool saw_end_ = false;
  bool intact_ = true;
  bool done_ = false;
  SocketError error_ = SocketError::none;
  Instant next_read_ = Instant::never();
  Instant finished_at_ = Instant::never();
};

/// Accepts connections and runs one StreamPeer for each, all by the same plan.
class StreamServer final : public Application {
 public:
  StreamServer(Host& host, const Endpoint& local, const StreamPlan& plan,
               std::uint32_t backlog = 128);

  void on_event(const Event& event, Instant now) override;
  SocketId listener() const noexcept { return listener_; }
  SocketError error() const noexcept { return error_; }
  const std::vector<StreamPeer*>& accepted() const noexcept { return accepted_; }

 private:
  Host& host_;
  StreamPlan plan_;
  SocketId listener_;
  SocketError error_ = SocketError::none;
  std::vector<StreamPeer*> accepted_;
};

/// Accepts connections and sends back what it gets; closes when the peer has closed.
class EchoServer final : public Application {
 public:
  EchoServer(Host& host, const Endpoint& local, std::uint32_t backlog = 128);

  void on_event(const Event& event, Instant now) override;
  std::uint64_t accepted() const noexcept { return accepted_; }

 private:
  void serve(SocketId socket, Instant now);

  Host& host_;
  SocketId listener_;
  std::uint64_t accepted_ = 0;
  std::vector<std::byte> buffer_;
};

/// A UDP socket that answers (or only counts) what it gets.
class DatagramServer final : public Application {
 public:
  DatagramServer(Host& host, const Endpoint& local, bool answers);

  void on_event(const Event& event, Instant now) override;
  SocketId socket() const noexcept { return socket_; }
  const std::vector<std::vector<std::byte>>& received() const noexcept { return received_; }
  const std::vector<DatagramInfo>& infos() const noexcept { return infos_; }

 private:
  Host& host_;
  SocketId socket_;
  bool answers_;
  std::vector<std::vector<std::byte>> received_;
  std::vector<DatagramInfo> infos_;
  std::vector<std::byte> buffer_;
};

/// Sends a datagram, waits for the answer (or a second), sends the next.
class DatagramClient final : public Application {
 public:
  DatagramClient(Host& host, const Endpoint& remote, std::uint32_t rounds, std::size_t size);

  void on_event(const Event& event, Instant now) override;
  Instant deadline() const override { return timeout_; }
  void run(Instant now) override;
  bool done() const noexcept { return answered_ + lost_ >= rounds_; }
  std::uint32_t answered() const noexcept { return answered_; }
  std::uint32_t lost() const noexcept { return lost_; }
  bool intact() const noexcept { return intact_; }

 private:
  void send(Instant now);

  Host& host_;
  SocketId socket_;
  std::uint32_t rounds_;
  std::uint32_t answered_ = 0;
  std::uint32_t lost_ = 0;
  bool intact_ = true;
  Pattern pattern_;
  std::vector<std::byte> buffer_;
  std::size_t size_;
  Instant timeout_ = Instant::never();
};

}  // namespace tidewire::sim
