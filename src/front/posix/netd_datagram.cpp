// Moving datagrams between twins and the backend.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr int datagrams_in_a_turn = 64;

// A record of length 0 and the end of the pair read alike; credentials come with records only.
struct Record {
  ssize_t size = -1;
  bool end = false;
};

Record read_record(int fd, MutBytes room) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  iovec part{room.data(), room.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  Record record;
  record.size = ::recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  record.end = record.size == 0 && header.msg_controllen == 0;
  return record;
}

}  // namespace

// False: the socket is gone.
bool Netd::pump_datagrams_up(Socket& s) {
  for (int i = 0; i < datagrams_in_a_turn; ++i) {
    if (s.is_stuck_up) {
      if (send_up(s, s.stuck_up, {}) == EAGAIN) return true;
      s.is_stuck_up = false;
      s.stuck_up.clear();
      if (!s.waiters.empty()) wake(s);
    }
    if (!s.peer_readable) return true;
    const Record record = read_record(s.peer.get(), scratch_);
    if (record.size < 0 && errno == EAGAIN) {
      s.peer_readable = false;
      return true;
    }
    if (record.end || record.size < 0) {
      s.peer_readable = false;
      const bool shut = s.shut_write;
      if (!shut || living_.dead().contains(s.serial)) {
        app_closed(s);
        return false;
      }
      return true;
    }
    const Bytes payload = Bytes(scratch_).first(static_cast<std::size_t>(record.size));
    const int error = send_up(s, payload, {});
    if (error == EAGAIN) {
      s.stuck_up.assign(payload.begin(), payload.end());
      s.is_stuck_up = true;
      return true;
    }
    // An error of a plain send() cannot be returned from it any more.
    if (error != 0 && error != EDESTADDRREQ) s.error = error;
  }
  queue(s);
  return true;
}

void Netd::pump_datagrams_down(Socket& s) {
  bool moved = false;
  for (int i = 0; s.peer_writable; ++i) {
    if (i == datagrams_in_a_turn) {
      queue(s);
      break;
    }
    const bool raw = s.type == SOCK_RAW;
    if (raw && !s.stuck_down_about && !s.errors.empty()) {
      take_raw_error(s);
      if (!s.stuck_down_about) continue;
    }
    if (!s.stuck_down_about) {
      auto got = backend_.receive_datagram(s.ref, scratch_);
      if (!got) {
        if (got.error() == EAGAIN) break;
        if (raw) {
          fetch_errors(s);
          continue;
        }
        push_error(s, got.error());
        moved = true;
        continue;
      }
      const std::size_t size = std::min(got->size, scratch_.size());
      if (raw) {
        s.stuck_down = raw_packet(s, *got, Bytes(scratch_).first(size));
      } else {
        s.stuck_down.assign(scratch_.begin(), scratch_.begin() + static_cast<std::ptrdiff_t>(size));
      }
      s.stuck_down_about = *got;
    }
    const ssize_t n =
        ::send(s.peer.get(), s.stuck_down.data(), s.stuck_down.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
      s.peer_writable = false;
      break;
    }
    if (n >= 0) {
      s.fifo.push_back({*s.stuck_down_about, datagram_truesize(s.stuck_down.size()), 0, {}});
      if (s.stamp_option != 0 || s.stamps_wanted) {
        ::clock_gettime(CLOCK_REALTIME, &s.fifo.back().arrived);
      }
      moved = true;
    }
    s.stuck_down_about.reset();
  }
  if (moved && !s.waiters.empty()) wake(s);
}

// An asynchronous error (ICMP): the next receiving call that asks us reports it; an empty record
// makes the program look.
void Netd::push_error(Socket& s, int error) {
  s.error = error;
  if (!s.waiters.empty()) return;
  if (::send(s.peer.get(), "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0) {
    s.fifo.push_back({{}, datagram_truesize(0), error, {}});
  }
}

// The program may have read datagrams without asking us. What it left is known by the memory that
// is still charged to our end.
void Netd::resync(Socket& s) {
  std::uint64_t listed = 0;
  for (const QueuedDatagram& d : s.fifo) listed += d.truesize;
  const std::uint32_t left = queued_truesize(s.peer.get());
  while (!s.fifo.empty() && listed > left) {
    listed -= s.fifo.front().truesize;
    s.fifo.pop_front();
  }
}

}  // namespace tidewire::posix
