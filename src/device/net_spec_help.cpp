// The words of --net, for people.
#include <array>

#include "device/net_spec.hpp"

namespace tidewire::device {

std::string_view net_spec_help() noexcept {
  return "delay=T            one way, each direction: 20ms, 1.5s, 300us\n"
         "jitter=T           up to T more, order kept: 5ms\n"
         "jitter=T,reorder   up to T more, order not kept\n"
         "loss=P             share of lost packets: 1%, 0.1%\n"
         "burst=N            losses come in runs of N packets\n"
         "ack.loss=P         share of lost TCP segments that only acknowledge: 10%\n"
         "lose=N,N-N         these packets of each flow are lost: 3,7-9\n"
         "rate=N{k,m,g}bit   bits per second: 50mbit\n"
         "trace=FILE         instead: when 1500 bytes may leave, a millisecond a line (mahimahi)\n"
         "queue=N{packets,KB}  room in front of the rate: 100packets, 64KB\n"
         "aqm=NAME           the queue drops early: codel or red; else droptail\n"
         "ecn=on|off         such a queue marks ECT packets instead: on\n"
         "codel.target=T, codel.interval=T  of CoDel: 5ms, 100ms\n"
         "red.min=N, red.max=N, red.p=P, red.gentle=on|off  of RED: a sixth and half of the queue, "
         "10%\n"
         "reorder=P          overtaken by later packets: 1%\n"
         "reorder.by=T       these are delayed by up to T: 5ms\n"
         "dup=P              arrives twice: 1%\n"
         "corrupt=P          one bit inverted: 0.1%\n"
         "mtu=N              bytes of an IP packet: 1500\n"
         "hole=N             longer IP packets vanish, and nobody is told: 1300\n"
         "blackout=T+T       nothing arrives from then on for so long: 2s+500ms,10s+1s\n"
         "blackhole=T        nothing arrives from then on, or after so many bytes: 10s, 1MB\n"
         "flap=T/T           dead for so long at the end of every: 1s/10s\n"
         "preset=NAME        cafe-wifi, 3g, lte, satellite, transatlantic, datacenter-incast;\n"
         "                   other words change it\n"
         "up.WORD, down.WORD the same for one direction: up.rate=5mbit\n";
}

namespace {

constexpr std::array<NetPreset, 6> kPresets{{
    {"cafe-wifi",
     "delay=25ms jitter=20ms loss=1% burst=2 down.rate=20mbit up.rate=5mbit queue=256KB",
     "more than half of the packets wait 20 ms and more on the radio hop (Sui et al., MobiSys "
     "2016, "
     "\"Characterizing and Improving WiFi Latency in Large-Scale Operational Networks\"); rates, "
     "loss and queue are our choice of a busy place"},
    {"3g", "delay=150ms down.rate=1600kbit up.rate=768kbit",
     "WebPageTest's connection \"3G (1.6 Mbps/768 Kbps 300ms RTT)\""},
    {"lte", "delay=35ms rate=12mbit",
     "WebPageTest's connection \"LTE (12 Mbps/12 Mbps 70ms RTT)\""},
    {"satellite", "delay=279ms down.rate=50mbit up.rate=10mbit",
     "geostationary: up to 279 ms one way (RFC 2488 §2); the rates are our choice of a tariff"},
    {"transatlantic", "delay=45ms rate=1gbit",
     "90 ms New York to London and back, which carriers guarantee on average (Verizon's "
     "transatlantic latency standard); the rate is our choice"},
    {"datacenter-incast", "delay=50us rate=1gbit queue=100KB",
     "many senders before one shallow port (RFC 8257 §1); delay, rate and queue are our choice of "
     "a "
     "rack's switch"},
}};

}  // namespace

std::span<const NetPreset> net_presets() noexcept { return kPresets; }

}  // namespace tidewire::device
