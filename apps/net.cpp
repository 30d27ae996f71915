// tidewire net: looks at the network of a running host and changes it.
#include <fmt/core.h>

#include <memory>

#include "apps/commands.hpp"
#include "apps/failure.hpp"
#include "apps/host_client.hpp"
#include "device/net_spec.hpp"
#include "report/json_writer.hpp"
#include "report/units.hpp"

namespace tidewire::apps {

namespace {

constexpr const char* kFooter =
    "HOST is the name given with `tidewire run --host`, or run-PID. Words that are not given keep\n"
    "their values; packets under way arrive as they would have. A link that is down loses what is\n"
    "sent into it; connections live on as long as their time-outs bear it.\n"
    "Examples:\n"
    "  tidewire net show h1\n"
    "  tidewire net set h1 loss=5% up.rate=1mbit\n"
    "  tidewire net set --replace h1 'delay=100ms'     nothing but these words\n"
    "  tidewire net set --replace h1                   a perfect link\n"
    "  tidewire net down h1; sleep 3; tidewire net up h1";

struct Options {
  std::string action;
  std::string host;
  std::vector<std::string> words;
  bool replace = false;
  bool json = false;
};

void print_link(const control::Record& link) {
  const std::string_view net = link.get("net");
  fmt::print("  {:<6}{}\n", std::string(link.get("direction")) + ":",
             net.empty() ? "perfect" : printable(net));
  std::string line = report::plural(link.number("packets").value_or(0), "packet", "packets") +
                     ", " + report::format_bytes(link.number("bytes").value_or(0));
  bool counted = false;
  for (const auto& [name, value] : link.values()) {
    if (counted && value != "0") line += ", " + value + " " + printable(name);
    counted = counted || name == "dropped";
  }
  fmt::print("        {}\n", line);
}

void print_text(const std::vector<control::Record>& records) {
  for (const control::Record& record : records) {
    if (record.kind() == "host") {
      fmt::print("{}: link {}, seed {}\n", printable(record.get("name")),
                 printable(record.get("link")), printable(record.get("seed")));
    } else if (record.kind() == "link") {
      print_link(record);
    }
  }
}

void print_json(const std::vector<control::Record>& records) {
  report::JsonWriter json;
  json.begin_object();
  for (const control::Record& record : records) {
    const bool link = record.kind() == "link";
    if (link) {
      json.key(record.get("direction"));
      json.begin_object();
    }
    for (const auto& [name, value] : record.values()) {
      if (link && name == "direction") continue;
      const bool text = name == "name" || name == "program" || name == "net" || name == "link";
      if (text) {
        json.member(name, std::string_view(value));
      } else {
        json.member(name, record.number(name).value_or(0));
      }
    }
    if (link) json.end_object();
  }
  json.end_object();
  fmt::print("{}", json.text());
}

int change(const Options& options) {
  std::string words;
  for (const std::string& word : options.words) words += (words.empty() ? "" : " ") + word;
  const bool set = options.action == "set";
  if (!set && (!words.empty() || options.replace)) {
    throw Failure("net " + options.action + " takes no words; net set does", 2);
  }
  if (set && words.empty() && !options.replace) {
    throw Failure("net set needs words, for example loss=5%; see tidewire net --help", 2);
  }
  // Said here already, where a wrong word can be told without a host.
  if (const auto spec = device::read_net_spec({}, options.replace ? words : ""); !spec) {
    throw Failure(to_string(spec.error()), 2);
  }
  control::Client host = connect_to_host(options.host);
  control::Record request("net");
  request.add("action", options.action).add("words", words);
  if (options.replace) request.add("replace", "1");
  const std::vector<control::Record> records = ask_host(host, request);
  if (options.json) {
    print_json(records);
  } else {
    print_text(records);
  }
  return 0;
}

}  // namespace

void add_net(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("net", "Look at the network of a running host, or change it");
  command->footer(kFooter);
  command->add_option("action", options->action, "show, set, down or up")
      ->required()
      ->type_name("ACTION")
      ->check(CLI::IsMember({"show", "set", "down", "up"}).description(""));
  command->add_option("host", options->host, "Whose network")->required()->type_name("HOST");
  command->add_option("words", options->words, "With set: words as of `tidewire run --net`")
      ->type_name("WORDS");
  command->add_flag("--replace", options->replace,
                    "With set: the words are the whole description, not a change of it");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &status] { status = change(*options); });
}

}  // namespace tidewire::apps
