// Parsing and emitting one TCP segment with timestamps, headers only.
#include <benchmark/benchmark.h>

#include <array>

#include "wire/tcp.hpp"

namespace {

using namespace tidewire;
using namespace tidewire::wire;

const IpAddress kSource = IpAddress::v4(10, 0, 2, 15);
const IpAddress kDestination = IpAddress::v4(10, 0, 2, 2);

TcpRepr segment() {
  TcpRepr repr{.source_port = 40000, .destination_port = 80, .seq = Seq{1}, .ack = Seq{2}};
  repr.flags = TcpFlag::ack;
  repr.window = 502;
  repr.options.timestamps = TcpTimestamps{1, 2};
  return repr;
}

std::size_t emit_packet(MutBytes target, const TcpRepr& tcp) {
  Writer out{target};
  Ipv4Repr ip{.source = kSource, .destination = kDestination, .protocol = protocol::tcp};
  ip.payload_len = static_cast<std::uint16_t>(header_len(tcp));
  emit(ip, out);
  emit_pending(tcp, out, kSource, kDestination, 0);
  return out.written();
}

void parse_ack(benchmark::State& state) {
  std::array<std::byte, 64> buffer{};
  const Bytes packet = Bytes{buffer}.first(emit_packet(buffer, segment()));
  for (auto _ : state) {
    const auto ip = Ipv4View::parse(packet);
    if (!ip || !ip->checksum_ok()) state.SkipWithError("not IPv4");
    const auto tcp = TcpView::parse(ip->payload());
    if (!tcp) state.SkipWithError("not TCP");
    TcpOptions options;
    benchmark::DoNotOptimize(parse_tcp_options(tcp->options(), options));
    benchmark::DoNotOptimize(tcp->seq().value() + tcp->ack().value() + tcp->window());
    benchmark::DoNotOptimize(options);
  }
}

void emit_ack(benchmark::State& state) {
  std::array<std::byte, 64> buffer{};
  const TcpRepr tcp = segment();
  for (auto _ : state) {
    benchmark::DoNotOptimize(emit_packet(buffer, tcp));
    benchmark::ClobberMemory();
  }
}

BENCHMARK(parse_ack);
BENCHMARK(emit_ack);

}  // namespace
