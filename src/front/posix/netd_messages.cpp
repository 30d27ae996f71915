// sendto, recvfrom, sendmsg, recvmsg, sendmmsg, recvmmsg: the calls in programs' memory.
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "front/abi/sockaddr.hpp"
#include "front/posix/netd.hpp"

namespace tidewire::posix {
namespace {

constexpr std::uint64_t mmsg_stride = 64;
constexpr std::uint64_t mmsg_length_at = 56;
constexpr unsigned max_messages = 1024;

// struct msghdr of a 64-bit program.
struct RawMessage {
  std::uint64_t name;
  std::int32_t name_size;
  std::int32_t pad0;
  std::uint64_t parts;
  std::uint64_t part_count;
  std::uint64_t control;
  std::uint64_t control_size;
  std::int32_t flags;
  std::int32_t pad1;
};
static_assert(sizeof(RawMessage) == sizeof(msghdr));

template <typename T>
MutBytes bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace

int Netd::load_message(const Call& call, std::uint64_t at, Message& m) {
  RawMessage raw{};
  if (!tasks_.read(call.tid, at, bytes_of(raw))) return EFAULT;
  if (raw.part_count > IOV_MAX) return EMSGSIZE;
  if (raw.name_size < 0) return EINVAL;
  m.name_at = raw.name;
  m.name_room = std::min<std::int32_t>(raw.name_size, sizeof(sockaddr_storage));
  m.control_at = raw.control;
  m.control_room = raw.control == 0 ? 0 : raw.control_size;
  m.parts.resize(raw.part_count);
  static_assert(sizeof(Part) == sizeof(iovec));
  return tasks_.read(call.tid, raw.parts, std::as_writable_bytes(std::span(m.parts))) ? 0 : EFAULT;
}

int Netd::store_message(const Call& call, std::uint64_t at, const Message& m, int domain) {
  const auto offset = [&](std::size_t field) { return at + field; };
  if (m.name_at != 0) {
    RawAddress name;
    if (m.name) name = *m.name;
    if (m.from) name = to_raw(*m.from, domain);
    const std::size_t n =
        std::min(static_cast<std::size_t>(name.size), static_cast<std::size_t>(m.name_room));
    auto size = static_cast<std::int32_t>(name.size);
    if (!tasks_.write(call.tid, m.name_at, name.bytes().first(n)) ||
        !tasks_.write(call.tid, offset(offsetof(RawMessage, name_size)), bytes_of(size))) {
      return EFAULT;
    }
  }
  if (!m.control.empty() && !tasks_.write(call.tid, m.control_at, m.control)) return EFAULT;
  std::uint64_t control_size = m.control.size();
  std::int32_t flags = m.out_flags;
  if (!tasks_.write(call.tid, offset(offsetof(RawMessage, control_size)), bytes_of(control_size)) ||
      !tasks_.write(call.tid, offset(offsetof(RawMessage, flags)), bytes_of(flags))) {
    return EFAULT;
  }
  return 0;
}

int Netd::gather(const Call& call, const Message& m, std::vector<std::byte>& out) {
  out.resize(m.total());
  std::size_t at = 0;
  for (const Part& part : m.parts) {
    if (!tasks_.read(call.tid, part.at, MutBytes(out).subspan(at, part.size))) return EFAULT;
    at += part.size;
  }
  return 0;
}

// `skip` bytes of the parts are filled already.
bool Netd::scatter(const Call& call, const Message& m, std::size_t skip, Bytes data) {
  for (const Part& part : m.parts) {
    const std::size_t filled = std::min<std::size_t>(part.size, skip);
    skip -= filled;
    const std::size_t n = std::min<std::size_t>(part.size - filled, data.size());
    if (!tasks_.write(call.tid, part.at + filled, data.first(n))) return false;
    data = data.subspan(n);
  }
  return true;
}

void Netd::raise_sigpipe(const Call& call, int flags) {
  if ((flags & MSG_NOSIGNAL) != 0) return;
  ::syscall(SYS_tgkill, tasks_.process_of(call.tid), call.tid, SIGPIPE);
}

Outcome Netd::send_one(const Call& call, Target& t, const Message& m) {
  if (t.socket->phase == Phase::netlink) return send_netlink(call, *t.socket, m);
  return t.socket->is_stream() ? stream_send(call, t, m) : send_datagram(call, t, m);
}

Outcome Netd::receive_one(const Call& call, Target& t, Message& m) {
  if (t.socket->phase == Phase::netlink) return receive_netlink(call, t, m);
  return t.socket->is_stream() ? stream_receive(call, t, m) : receive_datagram(call, t, m);
}

Outcome Netd::on_sendto(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Message m;
  m.parts.push_back({call.args[1], call.args[2]});
  m.flags = static_cast<int>(call.args[3]);
  m.name_at = call.args[4];
  m.name_room = static_cast<std::int32_t>(call.args[5]);
  return send_one(call, t, m);
}

Outcome Netd::on_recvfrom(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  if (t.app < 0) return Outcome::through();
  const int domain = t.socket->domain;
  Message m;
  m.parts.push_back({call.args[1], call.args[2]});
  m.flags = static_cast<int>(call.args[3]);
  const Outcome outcome = receive_one(call, t, m);
  if (outcome.kind != Outcome::Kind::value || call.args[4] == 0) return outcome;
  if (call.args[5] == 0) return Outcome::error(EFAULT);
  const RawAddress name = m.from ? to_raw(*m.from, domain) : m.name.value_or(RawAddress{});
  const int error = write_raw_address(call, name, call.args[4], call.args[5]);
  return error == 0 ? outcome : Outcome::error(error);
}

Outcome Netd::on_sendmsg(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Message m;
  const int error = load_message(call, call.args[1], m);
  if (error != 0) return Outcome::error(error);
  m.flags = static_cast<int>(call.args[2]);
  if (t.socket->is_stream() && (m.name_at == 0 || m.name_room == 0)) return Outcome::through();
  return send_one(call, t, m);
}

Outcome Netd::on_recvmsg(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr) return Outcome::through();
  Message m;
  const int error = load_message(call, call.args[1], m);
  if (error != 0) return Outcome::error(error);
  m.flags = static_cast<int>(call.args[2]);
  const bool plain = m.name_at == 0 && (m.flags & (MSG_TRUNC | MSG_ERRQUEUE)) == 0;
  if (t.app < 0 || (t.socket->is_stream() && plain)) return Outcome::through();
  const int domain = t.socket->domain;
  const Outcome outcome = receive_one(call, t, m);
  if (outcome.kind != Outcome::Kind::value) return outcome;
  const int stored = store_message(call, call.args[1], m, domain);
  return stored == 0 ? outcome : Outcome::error(stored);
}

Outcome Netd::on_sendmmsg(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr || t.socket->is_stream()) return Outcome::through();
  const unsigned count = std::min(static_cast<unsigned>(call.args[2]), max_messages);
  for (unsigned i = 0; i < count; ++i) {
    const std::uint64_t at = call.args[1] + i * mmsg_stride;
    Message m;
    Outcome outcome = Outcome::from(load_message(call, at, m));
    m.flags = static_cast<int>(call.args[3]) | (i > 0 ? int{MSG_DONTWAIT} : 0);
    if (outcome.kind == Outcome::Kind::value) outcome = send_one(call, t, m);
    if (outcome.kind != Outcome::Kind::value) return i > 0 ? Outcome::ok(i) : outcome;
    auto size = static_cast<std::uint32_t>(outcome.value);
    if (!tasks_.write(call.tid, at + mmsg_length_at, bytes_of(size))) return Outcome::error(EFAULT);
  }
  return Outcome::ok(count);
}

Outcome Netd::on_recvmmsg(const Call& call) {
  Target t = find(call);
  if (t.socket == nullptr || t.socket->is_stream() || t.app < 0) return Outcome::through();
  const unsigned count = std::min(static_cast<unsigned>(call.args[2]), max_messages);
  for (unsigned i = 0; i < count; ++i) {
    const std::uint64_t at = call.args[1] + i * mmsg_stride;
    Message m;
    Outcome outcome = Outcome::from(load_message(call, at, m));
    // Waits for the first one only; a program that wants more calls again.
    m.flags = (static_cast<int>(call.args[3]) & ~MSG_WAITFORONE) | (i > 0 ? int{MSG_DONTWAIT} : 0);
    if (outcome.kind == Outcome::Kind::value) outcome = receive_one(call, t, m);
    if (outcome.kind == Outcome::Kind::value) {
      auto size = static_cast<std::uint32_t>(outcome.value);
      const int stored = store_message(call, at, m, t.socket->domain);
      if (stored != 0) outcome = Outcome::error(stored);
      tasks_.write(call.tid, at + mmsg_length_at, bytes_of(size));
    }
    if (outcome.kind != Outcome::Kind::value) return i > 0 ? Outcome::ok(i) : outcome;
  }
  return Outcome::ok(count);
}

}  // namespace tidewire::posix
