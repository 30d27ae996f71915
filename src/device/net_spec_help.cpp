// The words of --net, for people.
#include "device/net_spec.hpp"

namespace tidewire::device {

std::string_view net_spec_help() noexcept {
  return "delay=T            one way, each direction: 20ms, 1.5s, 300us\n"
         "jitter=T           up to T more, order kept: 5ms\n"
         "jitter=T,reorder   up to T more, order not kept\n"
         "loss=P             share of lost packets: 1%, 0.1%\n"
         "burst=N            losses come in runs of N packets\n"
         "rate=N{k,m,g}bit   bits per second: 50mbit\n"
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
         "up.WORD, down.WORD the same for one direction: up.rate=5mbit\n";
}

}  // namespace tidewire::device
