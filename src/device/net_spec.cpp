#include "device/net_spec.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace tidewire::device {
namespace {

using Word = std::string_view;
using Error = std::optional<std::string>;  // nothing: no error

struct Unit {
  Word name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 4> kTimeUnits{
    {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}}};
constexpr std::array<Unit, 3> kRateUnits{
    {{"kbit", 1'000}, {"mbit", 1'000'000}, {"gbit", 1'000'000'000}}};

/// A decimal number as digits / 10^places, exactly.
struct Decimal {
  std::uint64_t digits = 0;
  std::uint64_t scale = 1;
};

/// Splits "12.5ms" into 12.5 and "ms". Nothing if it does not start with a number or has more
/// digits than a uint64 surely holds.
std::optional<Decimal> take_decimal(Word& text) {
  Decimal number;
  std::size_t at = 0;
  std::size_t count = 0;
  bool point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !point && count > 0) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      if (++count > 15) return std::nullopt;
      number.digits = number.digits * 10 + static_cast<std::uint64_t>(c - '0');
      if (point) number.scale *= 10;
    } else {
      break;
    }
  }
  if (count == 0 || text[at - 1] == '.') return std::nullopt;
  text.remove_prefix(at);
  return number;
}

/// number × factor (a power of 10) if that is a whole number that fits.
std::optional<std::uint64_t> scaled(Decimal number, std::uint64_t factor) {
  for (; number.scale > 1 && factor > 1; factor /= 10) number.scale /= 10;  // both powers of 10
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(number.digits, factor, &product)) return std::nullopt;
  if (product % number.scale != 0) return std::nullopt;
  return product / number.scale;
}

std::optional<std::uint64_t> with_unit(Word value, std::span<const Unit> units) {
  const std::optional<Decimal> number = take_decimal(value);
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (value == unit.name) return scaled(*number, unit.factor);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> plain(Word value) {
  const std::optional<Decimal> number = take_decimal(value);
  if (!number || !value.empty() || number->scale != 1) return std::nullopt;
  return number->digits;
}

std::optional<Probability> parse_probability(Word value) {
  std::optional<Decimal> number = take_decimal(value);
  if (!number || value != "%") return std::nullopt;
  while (number->scale > 1 && number->digits % 10 == 0) {
    number->digits /= 10;
    number->scale /= 10;
  }
  if (number->digits > 100 * number->scale) return std::nullopt;
  if (number->scale > 1'000'000'000) return std::nullopt;  // finer than a step of 2^-32
  // digits / (100 × scale) × 2^32, in two parts so that nothing overflows.
  const std::uint64_t divisor = 100 * number->scale;
  const std::uint64_t high = (number->digits << 16) / divisor;
  const std::uint64_t rest = (number->digits << 16) % divisor;
  return Probability{(high << 16) + ((rest << 16) + divisor / 2) / divisor};
}

bool set_duration(Duration& target, Word value) {
  const std::optional<std::uint64_t> ns = with_unit(value, kTimeUnits);
  if (!ns || *ns > 3'600'000'000'000U) return false;
  target = Duration::nanos(static_cast<std::int64_t>(*ns));
  return true;
}

bool set_probability(Probability& target, Word value) {
  const std::optional<Probability> p = parse_probability(value);
  if (p) target = *p;
  return p.has_value();
}

bool set_number(std::uint32_t& target, Word value, std::uint64_t least, std::uint64_t most) {
  const std::optional<std::uint64_t> n = plain(value);
  if (!n || *n < least || *n > most) return false;
  target = static_cast<std::uint32_t>(*n);
  return true;
}

bool set_rate(LinkSpec& link, Word value) {
  const std::optional<std::uint64_t> bps = with_unit(value, kRateUnits);
  if (!bps || *bps < 1'000 || *bps > 1'000'000'000'000U) return false;
  link.rate_bps = *bps;
  return true;
}

bool set_limit(QueueLimit& target, Word value) {
  const std::optional<Decimal> n = take_decimal(value);
  if (!n || n->scale != 1 || n->digits == 0 || n->digits > 1'000'000) return false;
  target = {};
  if (value == "packets") {
    target.packets = static_cast<std::uint32_t>(n->digits);
  } else if (value == "KB") {
    target.bytes = n->digits * 1024;
  } else {
    return false;
  }
  return true;
}

std::string decimal(std::uint64_t value, std::uint64_t scale) {
  std::string text = std::to_string(value / scale);
  std::uint64_t rest = value % scale;
  if (rest == 0) return text;
  text += '.';
  while (rest != 0) {
    scale /= 10;
    text += static_cast<char>('0' + rest / scale);
    rest %= scale;
  }
  return text;
}

std::string unit_text(std::uint64_t value, std::span<const Unit> units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (value >= unit.factor) best = &unit;
  }
  return decimal(value, best->factor) + std::string(best->name);
}

std::string time_text(Duration d) {
  return unit_text(static_cast<std::uint64_t>(d.count_nanos()), kTimeUnits);
}

/// The shortest percentage that rounds to this very step of 2^-32.
std::string percent_text(Probability p) {
  for (std::uint64_t scale = 1; scale <= 1'000'000'000; scale *= 10) {
    // p × 100 × scale / 2^32, rounded; the product needs more than 64 bits: split p.
    const std::uint64_t factor = 100 * scale;
    const std::uint64_t high = (p.per_2_32 >> 16) * factor;
    const std::uint64_t low = (p.per_2_32 & 0xffff) * factor;
    const std::uint64_t digits = (high + (low >> 16) + (1U << 15)) >> 16;
    const std::string text = decimal(digits, scale) + "%";
    if (parse_probability(text) == p) return text;
  }
  return decimal(p.per_2_32 * 100 >> 32, 1) + "%";
}

bool set_wait(Duration& target, Word value) {
  return set_duration(target, value) && target > Duration::zero();
}

bool set_switch(bool& target, Word value) {
  if (value != "on" && value != "off") return false;
  target = value == "on";
  return true;
}

constexpr std::array<Word, 3> kQueueKinds{"droptail", "codel", "red"};

bool set_aqm(LinkSpec& link, Word value) {
  for (std::size_t i = 0; i < kQueueKinds.size(); ++i) {
    if (value != kQueueKinds[i]) continue;
    link.aqm = static_cast<QueueKind>(i);
    return true;
  }
  return false;
}

std::string switch_text(bool on) { return on ? "on" : "off"; }

bool set_jitter(LinkSpec& link, Word value) {
  constexpr Word kReorder = ",reorder";
  link.jitter_reorders = value.ends_with(kReorder);
  if (link.jitter_reorders) value.remove_suffix(kReorder.size());
  return set_duration(link.jitter, value) && (!link.jitter_reorders || link.jitter != Duration{});
}

std::string limit_text(const QueueLimit& queue) {
  return queue.packets != 0 ? std::to_string(queue.packets) + "packets"
                            : std::to_string(queue.bytes / 1024) + "KB";
}

struct Key {
  Word name;
  Word form;
  bool (*set)(LinkSpec&, Word);
  bool (*given)(const LinkSpec&);        ///< differs from a perfect link's
  std::string (*text)(const LinkSpec&);  ///< the value as a word
};

constexpr std::array<Key, 20> kKeys{{
    {"delay", "delay=T with T like 20ms, 1.5s or 300us, at most an hour (one way)",
     [](LinkSpec& l, Word v) { return set_duration(l.delay, v); },
     [](const LinkSpec& l) { return l.delay != Duration{}; },
     [](const LinkSpec& l) { return time_text(l.delay); }},
    {"jitter",
     "jitter=T with T like 5ms, at most an hour (adds up to T, keeps order), or jitter=T,reorder "
     "(does not keep it)",
     set_jitter, [](const LinkSpec& l) { return l.jitter != Duration{}; },
     [](const LinkSpec& l) { return time_text(l.jitter) + (l.jitter_reorders ? ",reorder" : ""); }},
    {"loss", "loss=P with P like 1% or 0.1%, at most 100%",
     [](LinkSpec& l, Word v) { return set_probability(l.loss, v); },
     [](const LinkSpec& l) { return l.loss != Probability{}; },
     [](const LinkSpec& l) { return percent_text(l.loss); }},
    {"burst", "burst=N with N from 1 to 1000 packets",
     [](LinkSpec& l, Word v) { return set_number(l.burst, v, 1, 1000); },
     [](const LinkSpec& l) { return l.burst != 1; },
     [](const LinkSpec& l) { return std::to_string(l.burst); }},
    {"rate", "rate=N{k,m,g}bit like 50mbit, 512kbit or 1.5gbit", set_rate,
     [](const LinkSpec& l) { return l.rate_bps != 0; },
     [](const LinkSpec& l) { return unit_text(l.rate_bps, kRateUnits); }},
    {"queue", "queue=N{packets,KB} like 100packets or 64KB",
     [](LinkSpec& l, Word v) { return set_limit(l.queue, v); },
     [](const LinkSpec& l) { return l.queue != QueueLimit{}; },
     [](const LinkSpec& l) { return limit_text(l.queue); }},
    {"reorder", "reorder=P with P like 1%, at most 100%",
     [](LinkSpec& l, Word v) { return set_probability(l.reorder, v); },
     [](const LinkSpec& l) { return l.reorder != Probability{}; },
     [](const LinkSpec& l) { return percent_text(l.reorder); }},
    {"reorder.by", "reorder.by=T with T like 5ms, at most an hour, beside reorder=P",
     [](LinkSpec& l, Word v) { return set_duration(l.reorder_by, v); },
     [](const LinkSpec& l) { return l.reorder_by != Duration{}; },
     [](const LinkSpec& l) { return time_text(l.reorder_by); }},
    {"dup", "dup=P with P like 1%, at most 100%",
     [](LinkSpec& l, Word v) { return set_probability(l.duplicate, v); },
     [](const LinkSpec& l) { return l.duplicate != Probability{}; },
     [](const LinkSpec& l) { return percent_text(l.duplicate); }},
    {"corrupt", "corrupt=P with P like 0.1%, at most 100%",
     [](LinkSpec& l, Word v) { return set_probability(l.corrupt, v); },
     [](const LinkSpec& l) { return l.corrupt != Probability{}; },
     [](const LinkSpec& l) { return percent_text(l.corrupt); }},
    {"mtu", "mtu=N with N from 68 to 65535 bytes",
     [](LinkSpec& l, Word v) { return set_number(l.mtu, v, 68, 65535); },
     [](const LinkSpec& l) { return l.mtu != 0; },
     [](const LinkSpec& l) { return std::to_string(l.mtu); }},
    {"hole", "hole=N with N from 68 to 65535 bytes",
     [](LinkSpec& l, Word v) { return set_number(l.hole, v, 68, 65535); },
     [](const LinkSpec& l) { return l.hole != 0; },
     [](const LinkSpec& l) { return std::to_string(l.hole); }},
    {"aqm", "aqm=codel, aqm=red or aqm=droptail", set_aqm,
     [](const LinkSpec& l) { return l.aqm != QueueKind::drop_tail; },
     [](const LinkSpec& l) {
       return std::string(kQueueKinds.at(static_cast<std::size_t>(l.aqm)));
     }},
    {"ecn", "ecn=on or ecn=off (the queue marks, or drops)",
     [](LinkSpec& l, Word v) { return set_switch(l.ecn, v); },
     [](const LinkSpec& l) { return !l.ecn; },
     [](const LinkSpec& l) { return switch_text(l.ecn); }},
    {"codel.target", "codel.target=T with T like 5ms, at most an hour",
     [](LinkSpec& l, Word v) { return set_wait(l.codel.target, v); },
     [](const LinkSpec& l) { return l.codel.target != CodelSpec{}.target; },
     [](const LinkSpec& l) { return time_text(l.codel.target); }},
    {"codel.interval", "codel.interval=T with T like 100ms, at most an hour",
     [](LinkSpec& l, Word v) { return set_wait(l.codel.interval, v); },
     [](const LinkSpec& l) { return l.codel.interval != CodelSpec{}.interval; },
     [](const LinkSpec& l) { return time_text(l.codel.interval); }},
    {"red.min", "red.min=N{packets,KB} like 20packets or 30KB",
     [](LinkSpec& l, Word v) { return set_limit(l.red.min, v); },
     [](const LinkSpec& l) { return l.red.min != QueueLimit{}; },
     [](const LinkSpec& l) { return limit_text(l.red.min); }},
    {"red.max", "red.max=N{packets,KB} like 60packets or 90KB",
     [](LinkSpec& l, Word v) { return set_limit(l.red.max, v); },
     [](const LinkSpec& l) { return l.red.max != QueueLimit{}; },
     [](const LinkSpec& l) { return limit_text(l.red.max); }},
    {"red.p", "red.p=P with P like 10%, at most 100%",
     [](LinkSpec& l, Word v) { return set_probability(l.red.p, v); },
     [](const LinkSpec& l) { return l.red.p != RedSpec{}.p; },
     [](const LinkSpec& l) { return percent_text(l.red.p); }},
    {"red.gentle", "red.gentle=on or red.gentle=off",
     [](LinkSpec& l, Word v) { return set_switch(l.red.gentle, v); },
     [](const LinkSpec& l) { return !l.red.gentle; },
     [](const LinkSpec& l) { return switch_text(l.red.gentle); }},
}};

Word known_words() {
  return "delay jitter loss burst rate queue aqm ecn codel.target codel.interval red.min red.max "
         "red.p red.gentle reorder reorder.by dup corrupt mtu hole (each also as up.… or down.…)";
}

std::string quoted(Word word) { return "'" + std::string(word) + "'"; }

enum Direction : std::size_t { both = 0, up = 1, down = 2 };

/// One `key=value` word, taken apart.
struct Item {
  Word word;
  Direction direction = both;
  std::size_t key = 0;
  Word value;
};

Result<Item, std::string> parse_word(Word word) {
  Item item;
  item.word = word;
  Word rest = word;
  if (rest.starts_with("up.")) {
    item.direction = up;
    rest.remove_prefix(3);
  } else if (rest.starts_with("down.")) {
    item.direction = down;
    rest.remove_prefix(5);
  }
  const std::size_t equals = rest.find('=');
  const Word name = rest.substr(0, equals);
  for (item.key = 0; item.key < kKeys.size(); ++item.key) {
    if (kKeys[item.key].name == name) break;
  }
  if (item.key == kKeys.size()) {
    return fail("unknown word " + quoted(word) +
                " in the network description; known are: " + std::string(known_words()));
  }
  if (equals == Word::npos) {
    return fail(quoted(word) + " lacks a value; write " + std::string(kKeys[item.key].form));
  }
  item.value = rest.substr(equals + 1);
  LinkSpec scratch;
  if (!kKeys[item.key].set(scratch, item.value)) {
    return fail(quoted(word) + " is not understood; write " + std::string(kKeys[item.key].form));
  }
  return item;
}

Error check_aqm(const LinkSpec& link) {
  if (link.aqm != QueueKind::drop_tail && link.rate_bps == 0) {
    return "aqm=codel and aqm=red manage the queue in front of a rate and need rate=N{k,m,g}bit "
           "beside them";
  }
  if (!link.ecn && link.aqm == QueueKind::drop_tail) {
    return "ecn=off is for queues that mark and needs aqm=codel or aqm=red beside it";
  }
  if (link.codel != CodelSpec{} && link.aqm != QueueKind::codel) {
    return "codel.target=T and codel.interval=T need aqm=codel beside them";
  }
  if (link.red != RedSpec{} && link.aqm != QueueKind::red) {
    return "red.min, red.max, red.p and red.gentle need aqm=red beside them";
  }
  if (link.aqm != QueueKind::red) return std::nullopt;
  const RedSpec red = resolve_red(link);
  if ((red.min.packets != 0) != (red.max.packets != 0)) {
    return "red.min=N{packets,KB} and red.max=N{packets,KB} need the same unit, and both or none "
           "are given if the queue has another";
  }
  if (red.min.packets >= red.max.packets && red.min.bytes >= red.max.bytes) {
    return "red.min=N{packets,KB} has to be less than red.max=N{packets,KB}, which is half the "
           "queue where it is not given";
  }
  return std::nullopt;
}

Error check(const LinkSpec& link) {
  if (link.burst > 1 && link.loss == Probability::never()) {
    return "burst=N says how losses cluster and needs loss=P beside it";
  }
  if (link.queue != QueueLimit{} && link.rate_bps == 0) {
    return "queue=N{packets,KB} is the room in front of a rate and needs rate=N{k,m,g}bit beside "
           "it";
  }
  if (link.reorder_by != Duration{} && link.reorder == Probability{}) {
    return "reorder.by=T says how late packets are out of order and needs reorder=P beside it";
  }
  return check_aqm(link);
}

/// Resets what depended on something that `before` had and `link` has not.
void take_along(const LinkSpec& before, LinkSpec& link) {
  const auto off = [](Probability was, Probability is) {
    return was != Probability::never() && is == Probability::never();
  };
  if (off(before.loss, link.loss)) link.burst = 1;
  if (off(before.reorder, link.reorder)) link.reorder_by = {};
  if (before.aqm == link.aqm) return;
  if (before.aqm == QueueKind::codel) link.codel = {};
  if (before.aqm == QueueKind::red) link.red = {};
  if (link.aqm == QueueKind::drop_tail) link.ecn = true;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

Result<std::vector<Item>, std::string> split(Word text) {
  std::vector<Item> items;
  std::array<std::array<bool, kKeys.size()>, 3> seen{};
  while (true) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (text.empty()) return items;
    std::size_t end = 0;
    while (end < text.size() && !is_space(text[end])) ++end;
    Result<Item, std::string> item = parse_word(text.substr(0, end));
    if (!item) return fail(std::move(item.error()));
    bool& taken = seen[item->direction][item->key];
    if (taken) {
      return fail(quoted(text.substr(0, end)) + " names a key that was already given; write " +
                  std::string(kKeys[item->key].form) + " once");
    }
    taken = true;
    items.push_back(*item);
    text.remove_prefix(end);
  }
}

}  // namespace

QueueLimit resolve_queue(const LinkSpec& link) noexcept {
  constexpr std::uint64_t kLeast = 65536;
  if (link.rate_bps == 0 || link.queue != QueueLimit{}) return link.queue;
  return {0, std::max(link.rate_bps / 80, kLeast)};
}

RedSpec resolve_red(const LinkSpec& link) noexcept {
  RedSpec red = link.red;
  if (red.max == QueueLimit{}) {
    const QueueLimit queue = resolve_queue(link);
    red.max = {(queue.packets + 1) / 2, queue.bytes / 2};
  }
  if (red.min == QueueLimit{}) red.min = {red.max.packets / 3, red.max.bytes / 3};
  if (red.min == QueueLimit{}) red.min.packets = 1;
  return red;
}

Result<NetSpec, std::string> parse_net_spec(std::string_view text) {
  return change_net_spec({}, text);
}

Result<NetSpec, std::string> change_net_spec(const NetSpec& base, std::string_view text) {
  Result<std::vector<Item>, std::string> items = split(text);
  if (!items) return fail(std::move(items.error()));
  NetSpec spec = base;
  for (const bool general : {true, false}) {  // words for one direction win
    for (const Item& item : *items) {
      if ((item.direction == both) != general) continue;
      if (item.direction != down) kKeys[item.key].set(spec.up, item.value);
      if (item.direction != up) kKeys[item.key].set(spec.down, item.value);
    }
  }
  take_along(base.up, spec.up);
  take_along(base.down, spec.down);
  for (const LinkSpec* link : {&spec.up, &spec.down}) {
    if (Error error = check(*link)) return fail(std::move(*error));
  }
  return spec;
}

std::string to_string(const NetSpec& spec) {
  std::string text;
  const auto add = [&text](Word prefix, std::size_t key, const LinkSpec& link) {
    if (!kKeys[key].given(link)) return;
    if (!text.empty()) text += ' ';
    text += prefix;
    text += kKeys[key].name;
    text += '=';
    text += kKeys[key].text(link);
  };
  for (std::size_t key = 0; key < kKeys.size(); ++key) {
    const Key& k = kKeys[key];
    if (k.given(spec.up) == k.given(spec.down) && k.text(spec.up) == k.text(spec.down)) {
      add("", key, spec.up);
    } else {
      add("up.", key, spec.up);
      add("down.", key, spec.down);
    }
  }
  return text;
}

}  // namespace tidewire::device
