// Messages of sendmsg/recvmsg and their control data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "front/abi/sockaddr.hpp"
#include "front/posix/backend.hpp"
#include "front/posix/socket.hpp"

namespace tidewire::posix {

/// A piece of the program's memory.
struct Part {
  std::uint64_t at = 0;
  std::uint64_t size = 0;
};

/// One message as a program describes it; what a receiving call fills in follows.
struct Message {
  std::uint64_t name_at = 0;
  std::int32_t name_room = 0;
  std::vector<Part> parts;
  std::uint64_t control_at = 0;
  std::size_t control_room = 0;
  int flags = 0;

  std::optional<Endpoint> from;
  std::optional<RawAddress> name;  ///< instead, where the name is no endpoint
  std::vector<std::byte> control;
  int out_flags = 0;

  std::uint64_t total() const noexcept {
    std::uint64_t n = 0;
    for (const Part& p : parts) n += p.size;
    return n;
  }
};

/// Appends one control message by the rules of the kernel: what does not fit is cut, and MSG_CTRUNC
/// is set.
void put_control(Message& m, int level, int type, Bytes data);

/// The control messages the socket's options ask for.
void put_datagram_controls(Message& m, const Socket& s, const QueuedDatagram& datagram);
/// IP_RECVERR of an AF_INET socket, IPV6_RECVERR of others: a sock_extended_err and the offender.
void put_error_control(Message& m, int domain, const QueuedError& error);

/// Reads the control data of sendmsg. Unknown ones and bad lengths: EINVAL, as Linux.
Result<SendMeta, int> parse_controls(Bytes control, int domain);

}  // namespace tidewire::posix
