// One Internet socket of a program: the twin's other end, and what netd must remember beside it.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "front/posix/backend.hpp"
#include "front/posix/fd.hpp"
#include "front/posix/twin.hpp"

namespace tidewire::posix {

enum class Phase : std::uint8_t {
  fresh,       ///< streams: neither connected nor listening
  connecting,  ///< an active open is under way
  connected,
  failed,  ///< a non-blocking connect failed; the twin is used up
  listening,
  reset,  ///< was connected, aborted; names and options still answer
  datagram,
  netlink,  ///< nothing of the backend's
};

/// A datagram that lies in the twin.
struct QueuedDatagram {
  Datagram about;
  std::uint32_t truesize = 0;
  int error = 0;       ///< not 0: a token without payload that stands for an asynchronous error
  timespec arrived{};  ///< by the clock of the wall, if the program wants to know
};

/// An entry of the error queue (IP_RECVERR).
struct KeptError {
  QueuedError about;
  std::vector<std::byte> quote;
};

struct Socket {
  std::uint32_t serial = 0;  ///< ours, never reused within a run
  std::uint64_t key = 0;     ///< identity of the program's end; 0 until it was handed out
  Transport transport = Transport::tcp;
  int domain = 0;
  int type = 0;
  int protocol = 0;
  SocketRef ref = 0;
  Phase phase = Phase::fresh;
  std::string program;

  Fd peer;                 ///< our end of the twin
  Fd held;                 ///< a copy of the program's end where copies cannot be had on demand
  pid_t hint_process = 0;  ///< where a copy of the program's end was last seen
  int hint_fd = -1;

  // What is known of our end between edges.
  bool peer_readable = false;
  bool peer_writable = false;
  bool peer_hung_up = false;
  bool peer_ended = false;  ///< nothing more will come from the program
  bool peer_urgent = false;
  bool knows_urgent = false;  ///< peer_urgent was set once: reads stop where a mark is
  bool plain_head = false;    ///< what is read next does not begin at an urgent mark
  bool urgent_over = false;   ///< no urgent mark is left, and none will come
  bool tail = false;          ///< the first byte in our queue was passed on already
  bool queued = false;        ///< in the pump's list
  bool widened = false;       ///< see Netd::widen_twin

  std::optional<Filler> filler;
  int error = 0;  ///< what SO_ERROR or the next connect() reports
  bool connect_reported = false;
  std::size_t syn_taken = 0;      ///< bytes that a waiting sendto(MSG_FASTOPEN) is rid of already
  bool shut_read = false;         ///< by the program's shutdown()
  bool shut_write = false;        ///< by the program's shutdown()
  bool up_closed = false;         ///< no more bytes from the program
  bool untold = false;            ///< reset, and the program's end was not within reach
  std::uint64_t abort_after = 0;  ///< not 0: reset in that turn unless more ACKs come
  std::size_t last_words = 0;     ///< not acknowledged when a reset was last put off
  bool down_closed = false;       ///< the peer's FIN was passed on
  bool linger_set = false;
  bool linger_zero = false;

  // Listeners.
  UnixName twin_name;
  Fd shut_mark;                        ///< what makes a listener that was shut down readable
  std::uint32_t parent = 0;            ///< of a connection offered but not yet accepted
  std::vector<std::uint32_t> offered;  ///< and not known to be accepted, oldest first
  std::size_t at_once = 1;             ///< so many may be offered
  bool starved = false;                ///< more wait than may be offered, perhaps

  std::optional<std::byte> stuck_urgent;  ///< an urgent byte the twin had no room for

  // Datagrams.
  bool has_peer = false;
  std::deque<QueuedDatagram> fifo;
  std::deque<KeptError> errors;
  std::uint32_t netlink_port = 0;
  std::uint16_t raw_ident = 0;  ///< of the echo requests of a raw socket, in the order of the wire
  int stamp_option = 0;         ///< SO_TIMESTAMP or one of its kind, whichever is on
  bool stamps_wanted = false;   ///< by SIOCGSTAMP
  timespec last_stamp{};        ///< of the datagram that was read last
  std::vector<std::byte> stuck_up;  ///< a datagram of the program the backend had no room for
  bool is_stuck_up = false;
  std::vector<std::byte> stuck_down;  ///< a datagram the twin had no room for
  std::optional<Datagram> stuck_down_about;

  std::map<std::pair<int, int>, int> options;  ///< by (level, name), where no one else keeps them
  int send_buffer_wanted = 0;                  ///< asked for while the filler was in force
  std::vector<std::uint64_t> waiters;          ///< parked calls, oldest first

  bool is_stream() const noexcept { return transport == Transport::tcp; }
  int option(int level, int name, int otherwise = 0) const {
    const auto found = options.find({level, name});
    return found == options.end() ? otherwise : found->second;
  }
};

}  // namespace tidewire::posix
