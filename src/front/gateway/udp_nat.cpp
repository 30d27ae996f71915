#include "front/gateway/udp_nat.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "front/gateway/address_map.hpp"
#include "front/gateway/host_name.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

namespace {

constexpr int kDatagramsAtOnce = 64;
constexpr int kErrorsAtOnce = 16;
constexpr std::uint16_t kDnsPort = 53;

runtime::Fd open_host_socket(Family family, int& error) {
  const int domain = family == Family::v4 ? AF_INET : AF_INET6;
  runtime::Fd host(socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!host) {
    error = errno;
    return host;
  }
  const int on = 1;
  if (family == Family::v4) {
    (void)setsockopt(host.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  } else {
    (void)setsockopt(host.get(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  }
  const int room = 1 << 20;
  (void)setsockopt(host.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return host;
}

}  // namespace

UdpNat::UdpNat(Context& context)
    : context_(context),
      buffer_(65'536),
      idle_(context.config.udp_idle),
      idle_dns_(context.config.udp_dns) {}

UdpNat::~UdpNat() {
  for (auto& [key, mapping] : mappings_) {
    for (Flow& flow : mapping.flows) context_.users.erase(flow.socket);
  }
}

UdpNat::Mapping::~Mapping() { nat.context_.poller.remove(watch); }

void UdpNat::on_forward(const Event& event, Instant now) {
  const auto target = map_destination(context_.config, Protocol::udp, event.tuple.local);
  if (!target) {
    ++context_.counters.forbidden;
    context_.stack.forward_reject(event.flow, target.error(), now);
    return;
  }
  if (flow_count_ >= context_.config.udp_max) {
    ++context_.counters.udp_over_limit;
    context_.stack.forward_drop(event.flow);
    return;
  }
  int error = 0;
  Mapping* mapping = mapping_for(event.tuple.remote, target->address.family(), error);
  if (mapping == nullptr) {
    ++context_.counters.udp_over_limit;
    if (error == EMFILE || error == ENFILE || error == 0) {
      context_.stack.forward_drop(event.flow);
    } else {
      context_.stack.forward_reject(event.flow, reject_for(error), now);
    }
    return;
  }
  const auto socket = context_.stack.forward_accept(event.flow, now);
  if (!socket) return;
  Flow& flow = mapping->flows.emplace_back(*this);
  flow.mapping = mapping;
  flow.socket = *socket;
  flow.remote = event.tuple.local;
  flow.target = *target;
  flow.dns = event.tuple.local.port == kDnsPort;
  mapping->by_target[flow.target] = &flow;
  context_.users[*socket] = &flow;
  ++flow_count_;
  ++context_.counters.udp_opened;
  touch(flow, now);
  send_to_host(flow, now);
}

UdpNat::Mapping* UdpNat::mapping_for(const Endpoint& internal, Family family, int& error) {
  const Key key{internal, family};
  if (const auto it = mappings_.find(key); it != mappings_.end()) return &it->second;
  if (mappings_.size() >= context_.config.udp_sockets) return nullptr;
  runtime::Fd host = open_host_socket(family, error);
  if (!host) return nullptr;
  Mapping& mapping = mappings_.try_emplace(key, *this).first->second;
  mapping.internal = internal;
  mapping.family = family;
  mapping.host = std::move(host);
  auto watch = context_.poller.add(mapping.host.get(), runtime::kIoRead, mapping);
  if (!watch) {
    error = watch.error();
    mappings_.erase(key);
    return nullptr;
  }
  mapping.watch = *watch;
  return &mapping;
}

void UdpNat::Flow::on_socket(SocketId, std::uint16_t bits, Instant now) {
  if (over) return;
  if ((bits & kReadable) != 0) nat.send_to_host(*this, now);
}

void UdpNat::send_to_host(Flow& flow, Instant now) {
  for (int errors = 0; errors < kErrorsAtOnce;) {
    const auto datagram = context_.stack.receive_datagram(flow.socket, buffer_, false, now);
    if (!datagram) {
      if (datagram.error() == SocketError::would_block) return;
      if (datagram.error() == SocketError::unknown_socket) return end(flow, now);
      ++errors;  // an ICMP error from inside the virtual network: nobody there to be told of it
      continue;
    }
    touch(flow, now);
    if (!send_one(flow, Bytes(buffer_).first(datagram->copied), now)) return;
  }
}

/// False if the flow has ended.
bool UdpNat::send_one(Flow& flow, Bytes data, Instant now) {
  if (flow.dns && answer_host_name(flow, data, now)) return true;
  const runtime::SocketAddress to = runtime::to_socket_address(flow.target);
  // The first call may report an error of an earlier datagram, perhaps of another flow.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const ssize_t n = sendto(flow.mapping->host.get(), data.data(), data.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.length);
    if (n >= 0) {
      context_.counters.bytes_to_host += data.size();
      return true;
    }
    const int error = errno;
    receive_errors(*flow.mapping, now);
    if (flow.over) return false;
    if (error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EPERM) {
      refuse(flow, reject_for(error), now);
      return false;
    }
  }
  ++context_.counters.udp_dropped;
  return true;
}

bool UdpNat::answer_host_name(Flow& flow, Bytes query, Instant now) {
  std::array<std::byte, 512> answer;
  const std::size_t size =
      answer_for_host_name(query, context_.config.host_name, context_.config.address, answer);
  if (size == 0) return false;
  const Bytes data = Bytes(answer).first(size);
  (void)context_.stack.send_datagram(flow.socket, std::span(&data, 1), {}, now);
  return true;
}

void UdpNat::Mapping::on_io(int, std::uint32_t ready, Instant now) {
  if ((ready & runtime::kIoError) != 0) nat.receive_errors(*this, now);
  if ((ready & runtime::kIoRead) != 0) nat.receive_from_host(*this, now);
}

void UdpNat::receive_from_host(Mapping& mapping, Instant now) {
  for (int i = 0; i < kDatagramsAtOnce; ++i) {
    runtime::SocketAddress from;
    const ssize_t n = recvfrom(mapping.host.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT,
                               from.get(), &from.length);
    if (n < 0) return;
    const auto it = mapping.by_target.find(runtime::to_endpoint(from));
    if (it == mapping.by_target.end()) {
      ++context_.counters.udp_dropped;
      continue;
    }
    Flow& flow = *it->second;
    touch(flow, now);
    context_.counters.bytes_from_host += static_cast<std::uint64_t>(n);
    const Bytes data = Bytes(buffer_).first(static_cast<std::size_t>(n));
    const auto sent = context_.stack.send_datagram(flow.socket, std::span(&data, 1), {}, now);
    if (!sent) ++context_.counters.udp_dropped;
  }
}

void UdpNat::receive_errors(Mapping& mapping, Instant now) {
  for (int i = 0; i < kDatagramsAtOnce; ++i) {
    runtime::SocketAddress to;
    alignas(cmsghdr) std::array<std::byte, 512> control;
    msghdr message{};
    message.msg_name = to.get();
    message.msg_namelen = to.length;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (recvmsg(mapping.host.get(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
    const auto it = mapping.by_target.find(runtime::to_endpoint(to));
    if (it == mapping.by_target.end()) continue;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
      const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
      if (!v4 && !v6) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(c), sizeof error);
      // Too big is the host's matter: its later datagrams are fragmented.
      if (error.ee_errno == EMSGSIZE) continue;
      const auto how = error.ee_errno == ECONNREFUSED
                           ? ForwardReject::port_unreachable
                           : reject_for(static_cast<int>(error.ee_errno));
      refuse(*it->second, how, now);
      break;
    }
  }
}

void UdpNat::refuse(Flow& flow, ForwardReject how, Instant now) {
  ++context_.counters.udp_refused;
  context_.users.erase(flow.socket);
  context_.stack.forward_refuse(flow.socket, how, now);
  flow.socket = {};
  end(flow, now);
}

void UdpNat::end(Flow& flow, Instant now) {
  if (flow.over) return;
  flow.over = true;
  flow.idle.unlink();
  if (flow.socket) {
    context_.users.erase(flow.socket);
    context_.stack.close(flow.socket, now);
  }
  Mapping& mapping = *flow.mapping;
  if (const auto it = mapping.by_target.find(flow.target);
      it != mapping.by_target.end() && it->second == &flow) {
    mapping.by_target.erase(it);
  }
  --flow_count_;
  to_collect_ = true;
}

void UdpNat::touch(Flow& flow, Instant now) {
  (flow.dns ? idle_dns_ : idle_).touch(flow.idle, flow, now);
}

Instant UdpNat::next_deadline() const noexcept {
  return earlier(idle_.next_deadline(), idle_dns_.next_deadline());
}

void UdpNat::expire(Instant now) {
  for (IdleList<Flow>* list : {&idle_, &idle_dns_}) {
    while (Flow* flow = list->expired(now)) {
      ++context_.counters.udp_timed_out;
      end(*flow, now);
    }
  }
}

void UdpNat::collect() noexcept {
  if (!to_collect_) return;
  to_collect_ = false;
  for (auto it = mappings_.begin(); it != mappings_.end();) {
    it->second.flows.remove_if([](const Flow& flow) { return flow.over; });
    it = it->second.flows.empty() ? mappings_.erase(it) : std::next(it);
  }
}

}  // namespace tidewire::gateway
