// nc -u: each read of standard input is a datagram, each datagram is written to standard output.
#pragma once

#include <optional>
#include <vector>

#include "apps/standard_io.hpp"
#include "core/stack.hpp"
#include "runtime/driver.hpp"

namespace tidewire::apps {

class NcDatagrams final : public runtime::IoHandler, public runtime::Task {
 public:
  /// Without a peer the first sender becomes the peer; with `any_peer` the latest one.
  NcDatagrams(runtime::Driver& driver, Stack& stack, StandardStream& input, StandardStream& output,
              SocketId socket, std::optional<Endpoint> peer, bool any_peer, Duration idle_limit);
  ~NcDatagrams();
  NcDatagrams(const NcDatagrams&) = delete;
  NcDatagrams& operator=(const NcDatagrams&) = delete;

  void on_event(std::uint16_t bits, Instant now);
  void on_io(int fd, std::uint32_t ready, Instant now) override;
  Instant next_deadline() override;
  void run(Instant now) override;

  bool finished() const noexcept { return finished_; }
  SocketError error() const noexcept { return error_; }

 private:
  void send_input(Instant now);
  void write_output(Instant now);
  void set_peer(const Endpoint& peer);

  runtime::Driver& driver_;
  Stack& stack_;
  StandardStream& input_;
  StandardStream& output_;
  SocketId socket_;
  std::optional<Endpoint> peer_;
  bool any_peer_;
  Duration idle_limit_;
  std::vector<std::byte> in_, out_;
  std::size_t in_size_ = 0;  ///< a datagram that had no room
  Bytes out_rest_;           ///< not yet taken by standard output
  bool input_done_ = false;
  bool finished_ = false;
  SocketError error_ = SocketError::none;
  Instant last_move_;
};

}  // namespace tidewire::apps
