#include "front/gateway/udp_nat.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "front/gateway/address_map.hpp"
#include "front/gateway/host_datagrams.hpp"
#include "front/gateway/host_name.hpp"
#include "runtime/sockaddr.hpp"

namespace tidewire::gateway {

namespace {

constexpr int kReadsAtOnce = 64;
constexpr std::size_t kBytesAtOnce = 128 * 1024;  // less than the send buffer of a flow
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
  ask_for_coalescing(host.get());
  return host;
}

std::size_t datagrams_in(Bytes data, std::size_t segment) noexcept {
  return data.size() <= segment ? 1 : (data.size() + segment - 1) / segment;
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
  mapping.segments = can_segment(mapping.host.get());
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
  run_.clear();
  // A question for a name is looked at by itself.
  const bool single = flow.dns || !flow.mapping->segments;
  for (int errors = 0; errors < kErrorsAtOnce;) {
    const auto datagram = context_.stack.receive_datagram(flow.socket, run_.room(), false, now);
    if (!datagram) {
      if (datagram.error() == SocketError::would_block) break;
      if (datagram.error() == SocketError::unknown_socket) {
        if (send_run(flow, now)) end(flow, now);
        return;
      }
      ++errors;  // an ICMP error from inside the virtual network: nobody there to be told of it
      continue;
    }
    if (run_.continues(datagram->copied)) {
      run_.add(datagram->copied);
    } else {
      if (!send_run(flow, now)) return;
      run_.restart(datagram->copied);
    }
    if (!single && !run_.closed()) continue;
    if (!send_run(flow, now)) return;
    run_.clear();
  }
  (void)send_run(flow, now);
}

/// False if the flow has ended. The datagram behind the run, if one was read, stays where it is.
bool UdpNat::send_run(Flow& flow, Instant now) {
  if (run_.count() == 0) return true;
  const Bytes data = run_.data();
  const std::size_t segment = run_.segment();
  touch(flow, now);
  if (flow.dns && answer_host_name(flow, data, now)) return true;
  return send_datagrams(flow, data, segment, now);
}

/// False if the flow has ended.
bool UdpNat::send_datagrams(Flow& flow, Bytes data, std::size_t segment, Instant now) {
  const runtime::SocketAddress to = runtime::to_socket_address(flow.target);
  int error = 0;
  // The first call may report an error of an earlier datagram, perhaps of another flow.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (gateway::send_datagrams(flow.mapping->host.get(), data, segment, to)) {
      context_.counters.bytes_to_host += data.size();
      return true;
    }
    error = errno;
    receive_errors(*flow.mapping, now);
    if (flow.over) return false;
    if (error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == EPERM) {
      refuse(flow, reject_for(error), now);
      return false;
    }
  }
  if (segment < data.size()) {
    if (refuses_segments(error)) flow.mapping->segments = false;
    return send_singly(flow, data, segment, now);
  }
  ++context_.counters.udp_dropped;
  return true;
}

/// False if the flow has ended.
bool UdpNat::send_singly(Flow& flow, Bytes data, std::size_t segment, Instant now) {
  for (; !data.empty(); data = data.subspan(std::min(segment, data.size()))) {
    const Bytes one = data.first(std::min(segment, data.size()));
    if (!send_datagrams(flow, one, one.size(), now)) return false;
  }
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
  std::size_t bytes = 0;
  for (int i = 0; i < kReadsAtOnce && bytes < kBytesAtOnce; ++i) {
    const HostDatagrams got = receive_datagrams(mapping.host.get(), buffer_);
    if (got.size < 0) return;
    const Bytes data = Bytes(buffer_).first(static_cast<std::size_t>(got.size));
    bytes += data.size();
    const auto it = mapping.by_target.find(runtime::to_endpoint(got.from));
    if (it == mapping.by_target.end()) {
      context_.counters.udp_dropped += datagrams_in(data, got.segment);
      continue;
    }
    touch(*it->second, now);
    context_.counters.bytes_from_host += data.size();
    deliver(*it->second, data, got.segment, now);
  }
}

/// Into the virtual network. Where they do not pass together (a narrow link, a full queue), singly.
void UdpNat::deliver(Flow& flow, Bytes data, std::size_t segment, Instant now) {
  const bool many = segment < data.size();
  DatagramTarget target;
  if (many) target.segment_size = static_cast<std::uint16_t>(segment);
  if (context_.stack.send_datagram(flow.socket, std::span(&data, 1), target, now)) return;
  if (!many) {
    ++context_.counters.udp_dropped;
    return;
  }
  for (; !data.empty(); data = data.subspan(std::min(segment, data.size()))) {
    deliver(flow, data.first(std::min(segment, data.size())), segment, now);
  }
}

void UdpNat::receive_errors(Mapping& mapping, Instant now) {
  for (int i = 0; i < kReadsAtOnce; ++i) {
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
