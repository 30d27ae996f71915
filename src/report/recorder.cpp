#include "report/recorder.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace tidewire::report {

namespace {

constexpr std::size_t kRingSlots = std::size_t{1} << 15;  ///< more than a turn can write

void add_rtt(FlowDirection& direction, const TraceRecord& record) {
  const Duration sample = Duration::micros(record.a);
  direction.rtt_min = std::min(direction.rtt_min, sample);
  direction.rtt_max = std::max(direction.rtt_max, sample);
  direction.rtt_smoothed = Duration::micros(record.b);
  ++direction.rtt_samples;
}

void add_data(FlowDirection& direction, std::uint64_t bytes, Instant at) {
  if (bytes == 0) return;
  if (direction.bytes == 0) direction.first_data = at;
  direction.bytes += bytes;
  direction.last_data = at;
}

std::size_t hash_of(const Endpoint& endpoint) noexcept {
  const auto& octets = endpoint.address.octets();
  const std::string_view text(reinterpret_cast<const char*>(octets.data()), octets.size());
  return (std::hash<std::string_view>{}(text) + endpoint.port) * 0x9e37'79b9'7f4a'7c15;
}

}  // namespace

std::size_t Recorder::KeyHash::operator()(const Key& key) const noexcept {
  return hash_of(key.host) ^ std::rotl(hash_of(key.remote), 32) ^
         static_cast<std::size_t>(key.protocol);
}

Recorder::~Recorder() {
  for (const auto& source : sources_) source->stack->set_trace(nullptr);
}

void Recorder::observe(Side side, Stack& stack, bool alone) {
  auto source = std::make_unique<Source>();
  source->side = side;
  source->stack = &stack;
  source->alone = alone;
  source->slots.resize(kRingSlots);
  source->ring.slots = source->slots;
  stack.set_trace(&source->ring);
  sources_.push_back(std::move(source));
}

void Recorder::forget(Stack& stack) {
  stack.set_trace(nullptr);
  std::erase_if(sources_, [&](const auto& source) { return source->stack == &stack; });
}

void Recorder::after_turn(Instant) {
  for (const auto& source : sources_) drain(*source);
  if (sockets_known() >= sweep_at_) forget_sockets();
}

std::size_t Recorder::sockets_known() const noexcept {
  std::size_t known = programs_.size();
  for (const auto& source : sources_) known += source->sockets.size();
  return known;
}

// No more often than the sockets known have doubled, so that each costs a constant in the mean.
void Recorder::forget_sockets() {
  for (const auto& source : sources_) {
    std::erase_if(source->sockets,
                  [&](const auto& entry) { return !source->stack->info(entry.first).has_value(); });
  }
  std::erase_if(programs_, [&](const auto& entry) {
    return std::ranges::none_of(sources_, [&](const auto& source) {
      return source->side == Side::host && source->stack->info(entry.first).has_value();
    });
  });
  sweep_at_ = std::max(kSweepLeast, 2 * sockets_known());
}

void Recorder::drain(Source& source) {
  if (source.ring.written - source.read > source.slots.size()) {
    const std::uint64_t lost = source.ring.written - source.read - source.slots.size();
    records_lost_ += lost;
    source.read += lost;
  }
  for (; source.read < source.ring.written; ++source.read) {
    take(source, source.slots[source.read % source.slots.size()]);
  }
}

void Recorder::take(Source& source, const TraceRecord& record) {
  Names* names = names_of(source, record);
  if (listener_) {
    static const Endpoint kNone;
    listener_(source.side, record, names != nullptr ? names->local : kNone,
              names != nullptr ? names->remote : kNone);
  }
  if (names != nullptr && names->flow != nullptr) apply(*names, record);
}

Recorder::Names* Recorder::names_of(Source& source, const TraceRecord& record) {
  if (record.socket.kind != SocketKind::tcp) return nullptr;
  if (const auto it = source.sockets.find(record.socket); it != source.sockets.end()) {
    return &it->second;
  }
  const auto info = source.stack->info(record.socket);
  if (!info || info->remote.port == 0) return nullptr;  // gone already, or a listener
  Names names{{info->local.address.unmapped(), info->local.port, 0},
              {info->remote.address.unmapped(), info->remote.port, 0},
              nullptr,
              false,
              true};
  const bool passive = record.kind == TraceKind::state &&
                       record.b == static_cast<std::uint32_t>(TcpState::syn_received);
  if (source.side == Side::gateway) {
    names.swapped = true;
    names.flow = flow_for({Protocol::tcp, names.remote, names.local}, record.at, false);
  } else if (const auto it = last_.find({Protocol::tcp, names.remote, names.local});
             it != last_.end()) {
    names.swapped = true;
    names.flow = it->second;
    names.flow->inside = true;
  } else {
    names.flow = flow_for({Protocol::tcp, names.local, names.remote}, record.at, true);
    if (names.flow != nullptr && passive) names.flow->inward = true;
    const auto program = programs_.find(record.socket);
    if (names.flow != nullptr && program != programs_.end()) names.flow->program = program->second;
  }
  names.states = !names.swapped || source.alone;
  return &source.sockets.emplace(record.socket, names).first->second;
}

FlowRecord* Recorder::flow_for(const Key& key, Instant now, bool fresh) {
  const auto it = last_.find(key);
  if (it != last_.end()) {
    if (!fresh || !it->second->ended) return it->second;
  }
  if (flows_.size() >= flows_max_) {
    count_unrecorded(key);
    return nullptr;
  }
  FlowRecord& flow = flows_.emplace_back();
  flow.number = static_cast<std::uint32_t>(flows_.size());
  flow.protocol = key.protocol;
  flow.host = key.host;
  flow.remote = key.remote;
  flow.opened = flow.last = now;
  last_[key] = &flow;
  return &flow;
}

// Every packet and both sockets of a flow come here.
void Recorder::count_unrecorded(const Key& key) noexcept {
  const std::size_t hash =
      (hash_of(key.host) ^ hash_of(key.remote)) + static_cast<std::size_t>(key.protocol);
  std::size_t& known = unrecorded_[hash % unrecorded_.size()];
  if (known == hash) return;
  known = hash;
  ++overflow_;
}

void Recorder::apply(Names& names, const TraceRecord& record) {
  FlowRecord& flow = *names.flow;
  FlowDirection& sent = names.swapped ? flow.down : flow.up;
  FlowDirection& received = names.swapped ? flow.up : flow.down;
  flow.last = later(flow.last, record.at);
  switch (record.kind) {
    case TraceKind::segment_out:
      // Packets on the link are counted by its taps.
      if (flow.host.address.is_loopback() || flow.host.address == flow.remote.address) {
        ++sent.packets;
      }
      add_data(sent, record.c, record.at);
      break;
    case TraceKind::retransmission:
      ++sent.retransmitted_packets;
      sent.retransmitted_bytes += record.c;
      sent.bytes -= std::min<std::uint64_t>(sent.bytes, record.c);  // counted as sent as well
      if (static_cast<std::size_t>(record.cause) < kLossCauses) {
        ++sent.retransmissions[static_cast<std::size_t>(record.cause)];
      }
      break;
    case TraceKind::spurious:
      sent.spurious_packets += record.b;
      break;
    case TraceKind::undo:
      if (record.d < kUndoCauses) ++sent.undos[record.d];
      break;
    case TraceKind::ecn:
      flow.ecn = static_cast<EcnMode>(record.a);
      received.marked_packets += record.b;
      break;
    case TraceKind::rtt:
      add_rtt(sent, record);
      break;
    case TraceKind::congestion:
      sent.cwnd_max = std::max(sent.cwnd_max, record.a);
      break;
    case TraceKind::state:
      if (names.states) {
        change_state(flow, static_cast<TcpState>(record.a), static_cast<TcpState>(record.b));
      }
      break;
    default:
      break;
  }
}

void Recorder::change_state(FlowRecord& flow, TcpState from, TcpState to) {
  flow.state = to;
  if (to == TcpState::established) flow.established = true;
  if (to != TcpState::closed && to != TcpState::time_wait) return;
  flow.ended = true;
  flow.aborted = to == TcpState::closed && from != TcpState::last_ack &&
                 from != TcpState::time_wait && from != TcpState::closing &&
                 from != TcpState::fin_wait_2;
}

void Recorder::set_program(SocketId socket, const std::string& program) {
  programs_[socket] = program;
  for (const auto& source : sources_) {
    if (source->side != Side::host) continue;
    const auto it = source->sockets.find(socket);
    if (it == source->sockets.end() || it->second.flow == nullptr || it->second.swapped) continue;
    it->second.flow->program = program;
  }
}

std::string Recorder::program_of_datagrams(Protocol protocol, const Endpoint& host) const {
  for (const auto& source : sources_) {
    if (source->side != Side::host) continue;
    SocketId after;
    while (const auto info = source->stack->next_socket(after)) {
      after = info->id;
      if (info->protocol != protocol) continue;
      if (protocol == Protocol::udp && info->local.port != host.port) continue;
      const auto it = programs_.find(info->id);
      if (it != programs_.end()) return it->second;
    }
  }
  return {};
}

void Recorder::on_packet(Side side, Bytes ip_packet, std::uint16_t segs, Instant now) {
  const auto ip = wire::Ipv4View::parse(ip_packet, SIZE_MAX);
  if (!ip || ip->fragment_offset() != 0) return;
  const auto protocol = static_cast<Protocol>(ip->protocol());
  const bool tcp = protocol == Protocol::tcp;
  if (!tcp && protocol != Protocol::udp && protocol != Protocol::icmp) return;
  Endpoint source{ip->source(), 0, 0};
  Endpoint destination{ip->destination(), 0, 0};
  std::uint64_t size = ip->total_len() - ip->header_len();
  const Bytes header = ip_packet.subspan(std::min<std::size_t>(ip->header_len(), ip_packet.size()));
  if (protocol != Protocol::icmp) {
    if (header.size() < 8) return;
    Reader reader(header);
    source.port = reader.u16();
    destination.port = reader.u16();
    if (!tcp) size -= std::min<std::uint64_t>(size, 8);
  }
  bool opens = false;
  if (const auto view = wire::TcpView::parse(header); tcp && view) {
    opens = view->has(wire::TcpFlag::syn) && !view->has(wire::TcpFlag::ack);
    size -= std::min<std::uint64_t>(size, view->header_len());
  }
  const bool up = side == Side::host;
  // No trace tells what an end that is no stack sent, nor what of it was sent again.
  const bool untold =
      tcp && up && std::ranges::any_of(sources_, [](const auto& other) { return other->alone; });
  const Endpoint& host = up ? source : destination;
  const Endpoint& remote = up ? destination : source;
  FlowRecord* flow = flow_for({protocol, host, remote}, now, opens);
  if (flow == nullptr) return;
  const bool is_new = flow->up.packets == 0 && flow->down.packets == 0;
  if (is_new && !tcp) flow->program = program_of_datagrams(protocol, host);
  if (is_new) flow->inward = !up;
  FlowDirection& direction = up ? flow->up : flow->down;
  direction.packets += segs;
  if (!tcp || untold) add_data(direction, size, now);
  flow->last = now;
}

}  // namespace tidewire::report
