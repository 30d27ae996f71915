#include "device/scenario.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <span>

// The library (3.3.0) asserts where it means to refuse: some malformed tables. Here that is an
// error as any other, in every build.
#undef NDEBUG
#define TOML_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : throw tidewire::device::NotToml())
#define TOML_ENABLE_FORMATTERS 0
namespace tidewire::device {
struct NotToml {};
}  // namespace tidewire::device
#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Wexceptions"
#else
#pragma GCC diagnostic ignored "-Wterminate"  // none of these is on the way of a parse
#endif
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include "device/net_values.hpp"

namespace tidewire::device {
namespace {

using Error = std::optional<std::string>;

/// One [[at]] of the file.
struct Change {
  Duration time;
  Duration lasts;   ///< zero: until something else changes it
  Duration period;  ///< zero: once
  std::uint32_t times = 1;
  std::string words;
  bool replaces = false;
  std::optional<bool> up;
  toml::source_position where;
};

/// One moment of a Change.
struct Moment {
  Duration at;
  const Change* change = nullptr;
};

/// What a Change made of a description last: where it comes again it mostly finds the same.
struct Made {
  NetSpec from, to;
};

/// More dots than this in a line make tables in tables, without end.
constexpr std::size_t kMostDots = 16;

/// The first octet beyond ASCII that stands in no comment, or the dot too many. No word needs one,
/// and the TOML library reads some of them as they come (3.3.0: its table of blanks has holes that
/// it calls unreachable).
std::optional<toml::source_position> find_stray(std::string_view text) {
  toml::source_position at{1, 1};
  char quote = 0;
  bool comment = false;
  std::size_t dots = 0;
  for (std::size_t i = 0; i < text.size(); ++i, ++at.column) {
    const char c = text[i];
    if (c == '\n') {
      at = {at.line + 1, 0};
      comment = false;
      quote = 0;
      dots = 0;
    } else if (comment) {
      continue;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return at;
    } else if (quote != 0) {
      if (c == '\\' && quote == '"' && i + 1 < text.size() && text[i + 1] == '"') {
        ++i;
        ++at.column;
      } else if (c == quote) {
        quote = 0;
      }
    } else if (c == '.' && ++dots > kMostDots) {
      return at;
    } else if (c == '#') {
      comment = true;
    } else if (text.substr(i).starts_with(std::string(3, c)) && (c == '"' || c == '\'')) {
      i += 2;
      at.column += 2;
    } else if (c == '"' || c == '\'') {
      quote = c;
    }
  }
  return std::nullopt;
}

class ScenarioReader {
 public:
  ScenarioReader(const std::string& name, const FileReader& files) : name_(name), files_(files) {}

  Result<Scenario, std::string> read(std::string_view text) {
    if (const auto stray = find_stray(text)) {
      return fail(at(
          *stray, "characters beyond ASCII can stand in comments only, and names have few dots"));
    }
    toml::table root;
    try {
      root = toml::parse(text);
    } catch (const toml::parse_error& error) {
      return fail(at(error.source().begin, std::string(error.description()) + " (TOML)"));
    } catch (const NotToml&) {
      return fail(at({1, 1}, "it is not valid TOML: look for a malformed [table] or value"));
    }
    if (!read_start(root) || !read_changes(root) || !expand()) return fail(std::move(*error_));
    return std::move(scenario_);
  }

 private:
  std::string at(const toml::source_position& where, const std::string& why) const {
    return name_ + ":" + std::to_string(where.line) + ":" + std::to_string(where.column) + ": " +
           why;
  }
  bool wrong(const toml::source_position& where, const std::string& why) {
    error_ = at(where, why);
    return false;
  }
  bool wrong(const toml::node& node, const std::string& why) {
    return wrong(node.source().begin, why);
  }

  bool known_keys(const toml::table& table, std::span<const std::string_view> known,
                  const char* what) {
    for (const auto& [key, node] : table) {
      if (std::ranges::find(known, key.str()) != known.end()) continue;
      std::string list;
      for (const std::string_view name : known)
        list += (list.empty() ? "" : ", ") + std::string(name);
      return wrong(key.source().begin, "'" + std::string(key.str()) + "' is not known in " + what +
                                           "; known are: " + list);
    }
    return true;
  }

  bool read_start(const toml::table& root) {
    constexpr std::array<std::string_view, 5> kKnown{"net", "both", "up", "down", "at"};
    if (!known_keys(root, kKnown, "a scenario")) return false;
    std::string words;
    if (const toml::node* net = root.get("net")) {
      if (!take_words(*net, words)) return false;
    }
    for (const std::string_view side : {"both", "up", "down"}) {
      const toml::node* node = root.get(side);
      if (node == nullptr) continue;
      const toml::table* table = node->as_table();
      if (table == nullptr)
        return wrong(*node, "it has to be a table: [" + std::string(side) + "]");
      const std::string prefix = side == "both" ? "" : std::string(side) + ".";
      if (!take_table(*table, prefix, words)) return false;
    }
    auto spec = parse_net_spec(words, files_);
    if (!spec) return wrong(toml::source_position{1, 1}, spec.error());
    scenario_.start = *spec;
    return true;
  }

  /// A string of words, each checked where it stands.
  bool take_words(const toml::node& node, std::string& words) {
    const auto* value = node.as_string();
    if (value == nullptr) {
      return wrong(node, "words in a string are wanted, like \"delay=20ms loss=1%\"");
    }
    const std::string_view text = value->get();
    for (std::size_t start = 0; (start = text.find_first_not_of(" \t\r\n", start)) != text.npos;) {
      const std::size_t end = std::min(text.find_first_of(" \t\r\n", start), text.size());
      if (const Error why = check_net_word(text.substr(start, end - start), files_)) {
        toml::source_position where = node.source().begin;
        // Within a line the column can be told: one quotation mark, then the text as it is.
        if (node.source().end.line == where.line) {
          where.column += static_cast<toml::source_index>(start + 1);
        }
        return wrong(where, *why);
      }
      start = end;
    }
    words += (words.empty() ? "" : " ") + std::string(text);
    return true;
  }

  /// key = value as a word: numbers and lists may stand without quotation marks.
  bool take_table(const toml::table& table, const std::string& prefix, std::string& words) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      if (const toml::table* inner = node.as_table()) {
        if (!take_table(*inner, name + ".", words)) return false;
        continue;
      }
      const std::optional<std::string> value = text_of(node);
      if (!value) return wrong(node, name + " wants a string, a number, true, false or a list");
      const std::string word = name + "=" + *value;
      if (word.find_first_of(" \t\r\n") != std::string::npos) {
        return wrong(node, name + " wants a value without blanks");
      }
      if (const Error why = check_net_word(word, files_)) return wrong(key.source().begin, *why);
      words += (words.empty() ? "" : " ") + word;
    }
    return true;
  }

  static std::optional<std::string> text_of(const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* number = node.as_integer()) return std::to_string(number->get());
    if (const auto* flag = node.as_boolean()) return flag->get() ? "on" : "off";
    const toml::array* list = node.as_array();
    if (list == nullptr || list->empty()) return std::nullopt;
    std::string text;
    for (const toml::node& part : *list) {
      if (part.is_array()) return std::nullopt;
      const auto one = text_of(part);
      if (!one) return std::nullopt;
      text += (text.empty() ? "" : ",") + *one;
    }
    return text;
  }

  bool read_changes(const toml::table& root) {
    const toml::node* node = root.get("at");
    if (node == nullptr) return true;
    const toml::array* list = node->as_array();
    if (list == nullptr) return wrong(*node, "changes are written as [[at]], each with its time");
    for (const toml::node& one : *list) {
      const toml::table* table = one.as_table();
      if (table == nullptr) return wrong(one, "changes are written as [[at]], each with its time");
      if (!read_change(*table)) return false;
    }
    return true;
  }

  bool read_change(const toml::table& table) {
    constexpr std::array<std::string_view, 7> kKnown{"time", "for",  "every",  "times",
                                                     "net",  "link", "replace"};
    if (!known_keys(table, kKnown, "[[at]]")) return false;
    Change change;
    change.where = table.source().begin;
    if (table.get("time") == nullptr) {
      return wrong(table, "a change needs time = \"T\", since the start");
    }
    if (!take_time(table, "time", change.time, true) ||
        !take_time(table, "for", change.lasts, false) ||
        !take_time(table, "every", change.period, false) || !take_times(table, change) ||
        !take_effect(table, change)) {
      return false;
    }
    if (change.lasts > Duration::zero() && change.period > Duration::zero() &&
        change.lasts >= change.period) {
      return wrong(*table.get("for"), "it lasts until it comes again; for has to be below every");
    }
    changes_.push_back(std::move(change));
    return true;
  }

  bool take_time(const toml::table& table, std::string_view key, Duration& target, bool zero) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return true;
    const auto* text = node->as_string();
    const bool read = text != nullptr && (zero ? net_values::set_duration(target, text->get())
                                               : net_values::set_wait(target, text->get()));
    if (read) return true;
    return wrong(*node,
                 std::string(key) + " wants a time like \"2s\" or \"500ms\", at most an hour");
  }

  bool take_times(const toml::table& table, Change& change) {
    const toml::node* node = table.get("times");
    if (node == nullptr) {
      if (change.period == Duration::zero()) return true;
      return wrong(*table.get("every"), "every = \"T\" needs times = N beside it");
    }
    const auto* number = node->as_integer();
    const auto most = static_cast<std::int64_t>(Scenario::kMostEvents);
    if (number == nullptr || number->get() < 1 || number->get() > most) {
      return wrong(*node, "times wants a number from 1 to " + std::to_string(most));
    }
    if (change.period == Duration::zero()) {
      return wrong(*node, "times = N needs every = \"T\" beside it");
    }
    change.times = static_cast<std::uint32_t>(number->get());
    return true;
  }

  bool take_effect(const toml::table& table, Change& change) {
    if (const toml::node* net = table.get("net")) {
      if (!take_words(*net, change.words)) return false;
    }
    if (const toml::node* replace = table.get("replace")) {
      const auto* flag = replace->as_boolean();
      if (flag == nullptr) return wrong(*replace, "replace wants true or false");
      change.replaces = flag->get();
    }
    if (const toml::node* link = table.get("link")) {
      const auto* text = link->as_string();
      if (text == nullptr || (text->get() != "up" && text->get() != "down")) {
        return wrong(*link, "link wants \"up\" or \"down\"");
      }
      change.up = text->get() == "up";
    }
    if (table.get("net") == nullptr && !change.up && !change.replaces) {
      return wrong(table, "a change needs net = \"WORDS\" or link = \"down\"");
    }
    return true;
  }

  /// All moments in order, each with the whole state of the link from then on.
  bool expand() {
    std::vector<Moment> moments;
    for (const Change& change : changes_) {
      for (std::uint32_t i = 0; i < change.times; ++i) {
        moments.push_back({change.time + change.period * std::int64_t{i}, &change});
        if (moments.size() > Scenario::kMostEvents) {
          return wrong(change.where,
                       "more than " + std::to_string(Scenario::kMostEvents) + " changes in all");
        }
      }
    }
    std::ranges::stable_sort(moments, {}, &Moment::at);
    NetEvent now{{}, scenario_.start, true};
    for (std::size_t i = 0; i < moments.size(); ++i) {
      const Change& change = *moments[i].change;
      const NetEvent before = now;
      now.at = moments[i].at;
      if (!apply(change, now)) return false;
      scenario_.events.push_back(now);
      if (change.lasts == Duration::zero()) continue;
      const Duration end = now.at + change.lasts;
      if (i + 1 < moments.size() && moments[i + 1].at < end) {
        return wrong(moments[i + 1].change->where, "it falls into the time of the change in line " +
                                                       std::to_string(change.where.line) +
                                                       ", after which all is as before");
      }
      now = before;
      now.at = end;
      scenario_.events.push_back(now);
    }
    return true;
  }

  bool apply(const Change& change, NetEvent& state) {
    if (!change.words.empty() || change.replaces) {
      std::optional<Made>& made = made_[&change];
      const NetSpec from = change.replaces ? NetSpec{} : state.spec;
      if (!made || made->from != from) {
        auto spec = change_net_spec(from, change.words, files_);
        if (!spec) return wrong(change.where, spec.error());
        made = Made{from, std::move(*spec)};
      }
      state.spec = made->to;
    }
    if (change.up) state.up = *change.up;
    for (const LinkSpec* link : {&state.spec.up, &state.spec.down}) {
      listed_ += link->lose.size() + link->blackouts.size();
    }
    if (listed_ <= kMostListed) return true;
    return wrong(change.where,
                 "the lists of lose= and blackout= of all changes together are longer "
                 "than " +
                     std::to_string(kMostListed) + " entries");
  }

  const std::string& name_;
  const FileReader& files_;
  static constexpr std::size_t kMostListed = 1'000'000;

  std::vector<Change> changes_;
  std::map<const Change*, std::optional<Made>> made_;
  std::size_t listed_ = 0;
  Scenario scenario_;
  Error error_;
};

}  // namespace

Result<Scenario, std::string> parse_scenario(std::string_view text, const std::string& name,
                                             const FileReader& files) {
  return ScenarioReader(name, files).read(text);
}

}  // namespace tidewire::device
