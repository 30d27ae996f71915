#include "report/line_printer.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/random.hpp"
#include "report/run_report.hpp"
#include "wire/ipv4.hpp"
#include "wire/pretty.hpp"
#include "wire/tcp.hpp"

namespace tidewire::report {

namespace {

constexpr std::size_t kEthernetHeader = 14;

std::string timestamp(Duration since) {
  std::array<char, 32> text{};
  const auto us = since.count_micros();
  std::snprintf(text.data(), text.size(), "%lld.%06lld", static_cast<long long>(us / 1'000'000),
                static_cast<long long>(us % 1'000'000));
  return text.data();
}

/// Only tells the packets of one turn apart.
std::uint64_t hash_of(Bytes frame) noexcept { return siphash13({1, 2}, frame); }

const char* arrow(Side side) { return side == Side::host ? " >  " : " <  "; }

}  // namespace

LinePrinter::LinePrinter(Recorder& recorder, Instant origin, Output output)
    : recorder_(recorder), origin_(origin), output_(std::move(output)) {
  recorder_.set_listener(
      [this](Side side, const TraceRecord& record, const Endpoint& local, const Endpoint& remote) {
        on_record(side, record, local, remote);
      });
}

LinePrinter::~LinePrinter() {
  recorder_.set_listener({});
  after_turn({});
}

void LinePrinter::on_packet(Side side, Medium medium, Bytes frame, Instant now) {
  Line line;
  line.at = now;
  line.text = timestamp(now - origin_) + arrow(side) + wire::pretty(medium, frame);
  line.is_packet = true;
  line.frame_hash = hash_of(frame);
  const std::size_t link = medium == Medium::ethernet ? kEthernetHeader : 0;
  if (frame.size() > link) {
    const auto ip = wire::Ipv4View::parse(frame.subspan(link), SIZE_MAX);
    if (ip && ip->protocol() == wire::protocol::tcp && ip->fragment_offset() == 0) {
      const auto tcp = wire::TcpView::parse(frame.subspan(link + ip->header_len()));
      if (tcp) {
        line.is_segment = true;
        line.key = {side,
                    {ip->source(), tcp->source_port(), 0},
                    {ip->destination(), tcp->destination_port(), 0},
                    tcp->seq().value()};
      }
    }
  }
  lines_.push_back(std::move(line));
}

void LinePrinter::on_impact(Bytes frame, const std::string& what, std::uint32_t flow,
                            std::uint64_t ordinal) {
  const std::uint64_t hash = hash_of(frame);
  const auto it = std::find_if(lines_.rbegin(), lines_.rend(), [&](const Line& line) {
    return line.is_packet && line.frame_hash == hash;
  });
  if (it == lines_.rend()) return;
  it->marks += "  *** " + what + " (packet " + std::to_string(ordinal) + " of flow " +
               std::to_string(flow) + ")";
}

void LinePrinter::on_record(Side side, const TraceRecord& record, const Endpoint& local,
                            const Endpoint& remote) {
  if (record.kind == TraceKind::retransmission) {
    retransmissions_.emplace(SegmentKey{side, local, remote, record.a}, record.cause);
    return;
  }
  std::string text;
  if (record.kind == TraceKind::state) {
    if (local.port == 0) return;
    text = to_string(local) + " > " + to_string(remote) + ": ";
    text += to_string(static_cast<TcpState>(record.a));
    text += " -> ";
    text += to_string(static_cast<TcpState>(record.b));
  } else if (record.kind == TraceKind::undo) {
    text = to_string(local) + " > " + to_string(remote) + ": nothing was lost, by ";
    text += describe(static_cast<UndoCause>(record.d));
    text += ": cwnd " + std::to_string(record.a) + " again";
  } else if (record.kind == TraceKind::drop) {
    text = side == Side::host ? "the host drops a packet: " : "the gateway drops a packet: ";
    text += to_string(record.reason);
  } else {
    return;
  }
  Line line;
  line.at = record.at;
  line.text = timestamp(record.at - origin_) + " -- " + text;
  lines_.push_back(std::move(line));
}

void LinePrinter::after_turn(Instant) {
  if (lines_.empty() && retransmissions_.empty()) return;
  std::ranges::stable_sort(lines_, [](const Line& a, const Line& b) { return a.at < b.at; });
  for (Line& line : lines_) {
    if (line.is_segment) {
      if (const auto it = retransmissions_.find(line.key); it != retransmissions_.end()) {
        line.text += "  [retransmission: " + std::string(describe(it->second)) + "]";
        retransmissions_.erase(it);
      }
    }
    output_(line.text + line.marks);
  }
  lines_.clear();
  retransmissions_.clear();
}

}  // namespace tidewire::report
