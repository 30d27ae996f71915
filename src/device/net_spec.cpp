#include "device/net_spec.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "device/net_values.hpp"

namespace tidewire::device {
namespace {

using namespace net_values;
using Error = std::optional<std::string>;  // nothing: no error

constexpr std::array<Word, 3> kQueueKinds{"droptail", "codel", "red"};

bool set_aqm(LinkSpec& link, Word value) {
  for (std::size_t i = 0; i < kQueueKinds.size(); ++i) {
    if (value != kQueueKinds[i]) continue;
    link.aqm = static_cast<QueueKind>(i);
    return true;
  }
  return false;
}

bool set_jitter(LinkSpec& link, Word value) {
  constexpr Word kReorder = ",reorder";
  link.jitter_reorders = value.ends_with(kReorder);
  if (link.jitter_reorders) value.remove_suffix(kReorder.size());
  return set_duration(link.jitter, value) && (!link.jitter_reorders || link.jitter != Duration{});
}

struct Key {
  Word name;
  Word form;
  bool (*set)(LinkSpec&, Word);
  bool (*given)(const LinkSpec&);        ///< differs from a perfect link's
  std::string (*text)(const LinkSpec&);  ///< the value as a word
};

constexpr Word kPreset = "preset";
constexpr Word kTrace = "trace";

bool is_endless(const Window& window) { return window.until == kForEver; }

/// `2s+500ms,10s+1s`: from and for how long.
bool set_blackouts(LinkSpec& link, Word value) {
  std::erase_if(link.blackouts, [](const Window& w) { return !is_endless(w); });
  std::size_t count = 0;
  return each_part(value, [&](Word part) {
    const std::size_t plus = part.find('+');
    Window window;
    Duration length;
    if (plus == Word::npos || ++count > 1000 || !set_duration(window.from, part.substr(0, plus)) ||
        !set_wait(length, part.substr(plus + 1))) {
      return false;
    }
    window.until = window.from + length;
    link.blackouts.push_back(window);
    return true;
  });
}

std::string blackouts_text(const LinkSpec& link) {
  std::string text;
  for (const Window& w : link.blackouts) {
    if (is_endless(w)) continue;
    text += (text.empty() ? "" : ",") + time_text(w.from) + "+" + time_text(w.until - w.from);
  }
  return text;
}

/// From a time on, or after so many bytes.
bool set_blackhole(LinkSpec& link, Word value) {
  std::erase_if(link.blackouts, is_endless);
  link.dead_after = 0;
  if (set_size(link.dead_after, value)) return true;
  Window window{{}, kForEver};
  if (!set_duration(window.from, value)) return false;
  link.blackouts.push_back(window);
  return true;
}

std::string blackhole_text(const LinkSpec& link) {
  if (link.dead_after != 0) return size_text(link.dead_after);
  const auto found = std::ranges::find_if(link.blackouts, is_endless);
  return found == link.blackouts.end() ? "" : time_text(found->from);
}

bool set_flap(Flap& flap, Word value) {
  const std::size_t slash = value.find('/');
  return slash != Word::npos && set_wait(flap.dead, value.substr(0, slash)) &&
         set_wait(flap.period, value.substr(slash + 1)) && flap.dead < flap.period;
}

constexpr std::array<Key, 27> kKeys{{
    {kPreset, "preset=NAME with one of the networks that --net knows by name",
     [](LinkSpec&, Word v) { return !v.empty(); }, [](const LinkSpec&) { return false; },
     [](const LinkSpec&) { return std::string(); }},
    {kTrace, "trace=FILE with FILE in the format of mahimahi: a millisecond a line",
     [](LinkSpec& l, Word v) {
       l.rate_bps = 0;
       return !v.empty();
     },
     [](const LinkSpec& l) { return static_cast<bool>(l.trace); },
     [](const LinkSpec& l) { return l.trace ? l.trace->name() : std::string(); }},
    {"ack.loss", "ack.loss=P with P like 10%, at most 100% (segments that only acknowledge)",
     [](LinkSpec& l, Word v) { return set_probability(l.ack_loss, v); },
     [](const LinkSpec& l) { return l.ack_loss != Probability{}; },
     [](const LinkSpec& l) { return percent_text(l.ack_loss); }},
    {"lose", "lose=N,N-N with ascending numbers from 1: those packets of each flow",
     [](LinkSpec& l, Word v) { return set_ordinals(l.lose, v); },
     [](const LinkSpec& l) { return !l.lose.empty(); },
     [](const LinkSpec& l) { return ordinals_text(l.lose); }},
    {"blackout", "blackout=T+T,T+T with from and for how long, like 2s+500ms", set_blackouts,
     [](const LinkSpec& l) { return !blackouts_text(l).empty(); }, blackouts_text},
    {"blackhole", "blackhole=T or blackhole=N{KB,MB,GB} like 10s or 1MB (nothing arrives any more)",
     set_blackhole, [](const LinkSpec& l) { return !blackhole_text(l).empty(); }, blackhole_text},
    {"flap", "flap=T/T like 1s/10s (dead for the last second of every ten)",
     [](LinkSpec& l, Word v) { return set_flap(l.flap, v); },
     [](const LinkSpec& l) { return l.flap != Flap{}; },
     [](const LinkSpec& l) { return time_text(l.flap.dead) + "/" + time_text(l.flap.period); }},
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
    {"rate", "rate=N{k,m,g}bit like 50mbit, 512kbit or 1.5gbit",
     [](LinkSpec& l, Word v) {
       l.trace = {};
       return set_rate(l.rate_bps, v);
     },
     [](const LinkSpec& l) { return l.rate_bps != 0; },
     [](const LinkSpec& l) { return rate_text(l.rate_bps); }},
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
  return "delay jitter loss burst ack.loss lose rate trace queue aqm ecn codel.target "
         "codel.interval red.min red.max red.p red.gentle reorder reorder.by dup corrupt mtu hole "
         "blackout blackhole flap (each also as up.… or down.…) and preset";
}

std::string quoted(Word word) { return "'" + std::string(word) + "'"; }

enum Direction : std::size_t { both = 0, up = 1, down = 2 };

/// One `key=value` word, taken apart.
struct Item {
  Word word;
  Direction direction = both;
  std::size_t key = 0;
  Word value;
  SharedTrace trace;  ///< read
};

const NetPreset* find_preset(Word name) {
  const auto presets = net_presets();
  const auto found = std::ranges::find(presets, name, &NetPreset::name);
  return found == presets.end() ? nullptr : &*found;
}

/// What a word asks for beyond its value: a preset that there is, a file that can be read.
Error look_up(Item& item, const FileReader& files) {
  const Word name = kKeys[item.key].name;
  if (name == kPreset) {
    if (item.direction != both) return "a preset is for both directions; write preset=NAME";
    if (find_preset(item.value) != nullptr) return std::nullopt;
    std::string known;
    for (const NetPreset& preset : net_presets()) {
      known += (known.empty() ? "" : ", ") + std::string(preset.name);
    }
    return quoted(item.word) + " names no preset; there are " + known;
  }
  if (name != kTrace) return std::nullopt;
  if (!files) {
    return quoted(item.word) +
           " names a file, which can be read where --net or a scenario file "
           "says so only";
  }
  const auto text = files(std::string(item.value));
  if (!text) return text.error();
  auto trace = RateTrace::parse(*text, std::string(item.value));
  if (!trace) return std::move(trace.error());
  item.trace = SharedTrace(std::move(*trace));
  return std::nullopt;
}

Result<Item, std::string> parse_word(Word word, const FileReader& files) {
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
  if (Error error = look_up(item, files)) return fail(std::move(*error));
  return item;
}

Error check_aqm(const LinkSpec& link) {
  if (link.aqm != QueueKind::drop_tail && link.average_bps() == 0) {
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
  if (link.queue != QueueLimit{} && link.average_bps() == 0) {
    return "queue=N{packets,KB} is the room in front of a rate and needs rate=N{k,m,g}bit or "
           "trace=FILE beside it";
  }
  if (link.reorder_by != Duration{} && link.reorder == Probability{}) {
    return "reorder.by=T says how late packets are out of order and needs reorder=P beside it";
  }
  return check_aqm(link);
}

/// A direction has a rate or a trace.
Error check_pace(std::span<const Item> items) {
  const auto has = [&](Word name, Direction direction) {
    return std::ranges::any_of(items, [&](const Item& item) {
      return kKeys[item.key].name == name && item.direction == direction;
    });
  };
  for (const Direction direction : {both, up, down}) {
    if (has(kTrace, direction) && has("rate", direction)) {
      return "trace=FILE says when packets leave, and leaves nothing to rate=N{k,m,g}bit";
    }
  }
  return std::nullopt;
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

Result<std::vector<Item>, NetFault> split(Word text, const FileReader& files) {
  const std::size_t whole = text.size();
  std::vector<Item> items;
  std::array<std::array<bool, kKeys.size()>, 3> seen{};
  while (true) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (text.empty()) return items;
    std::size_t end = 0;
    while (end < text.size() && !is_space(text[end])) ++end;
    Result<Item, std::string> item = parse_word(text.substr(0, end), files);
    const std::size_t column = whole - text.size() + 1;
    if (!item) return fail(NetFault{std::move(item.error()), column});
    bool& taken = seen[item->direction][item->key];
    if (taken) {
      return fail(NetFault{quoted(text.substr(0, end)) +
                               " names a key that was already given; write " +
                               std::string(kKeys[item->key].form) + " once",
                           column});
    }
    taken = true;
    items.push_back(*item);
    text.remove_prefix(end);
  }
}

}  // namespace

QueueLimit resolve_queue(const LinkSpec& link) noexcept {
  constexpr std::uint64_t kLeast = 65536;
  const std::uint64_t rate = link.average_bps();
  if (rate == 0 || link.queue != QueueLimit{}) return link.queue;
  return {0, std::max(rate / 80, kLeast)};
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

Result<NetSpec, std::string> parse_net_spec(std::string_view text, const FileReader& files) {
  return change_net_spec({}, text, files);
}

Result<NetSpec, std::string> change_net_spec(const NetSpec& base, std::string_view text,
                                             const FileReader& files) {
  Result<NetSpec, NetFault> spec = read_net_spec(base, text, files);
  if (!spec) return fail(std::move(spec.error().what));
  return std::move(*spec);
}

std::string to_string(const NetFault& fault) {
  return fault.column == 0 ? fault.what
                           : "column " + std::to_string(fault.column) + ": " + fault.what;
}

Result<NetSpec, NetFault> read_net_spec(const NetSpec& base, std::string_view text,
                                        const FileReader& files) {
  Result<std::vector<Item>, NetFault> items = split(text, files);
  if (!items) return fail(std::move(items.error()));
  if (Error error = check_pace(*items)) return fail(NetFault{std::move(*error)});
  NetSpec spec = base;
  for (const Item& item : *items) {
    if (kKeys[item.key].name == kPreset) spec = *parse_net_spec(find_preset(item.value)->words);
  }
  for (const bool general : {true, false}) {  // words for one direction win
    for (const Item& item : *items) {
      if ((item.direction == both) != general) continue;
      for (LinkSpec* link : {&spec.up, &spec.down}) {
        if (item.direction == (link == &spec.up ? down : up)) continue;
        kKeys[item.key].set(*link, item.value);
        if (item.trace) link->trace = item.trace;
      }
    }
  }
  take_along(base.up, spec.up);
  take_along(base.down, spec.down);
  for (const LinkSpec* link : {&spec.up, &spec.down}) {
    if (Error error = check(*link)) return fail(NetFault{std::move(*error)});
  }
  return spec;
}

std::optional<std::string> check_net_word(std::string_view word, const FileReader& files) {
  Result<Item, std::string> item = parse_word(word, files);
  return item ? std::nullopt : std::optional(std::move(item.error()));
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
