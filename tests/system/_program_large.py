"""Larger programs, client and server in runs of their own: PostgreSQL, exim, node, java."""
import base64
import email
import grp
import os
import pathlib
import pwd

import subprocess

from _program_rows import shows
from _program_services import answers, greets, published, serves_http
from _programs import AS_USER, Skipped, check, equal, free_port, need, sha256


# --- PostgreSQL -----------------------------------------------------------------------------------

def postgres_programs():
    """The directory of the newest server's programs."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise Skipped("postgresql is not installed")
    return found[-1].parent


@shows("PostgreSQL", ("postgres -D D -p P", "psql -h H -p P", "pgbench -h H -p P -i",
                      "pgbench -h H -p P -c 8 -j 2 -t N"),
       "server and clients in two runs: rows copied in and out, then eight clients of pgbench; no transaction fails")
def postgres_bench(bench):
    """initdb, a server, psql with COPY both ways, pgbench."""
    need("psql", "pgbench")
    programs, port = postgres_programs(), free_port()
    bench.host([programs / "initdb", "-D", "data", "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8",
                "--locale=C"], limit=120).ok()
    with open(bench.dir / "data/pg_hba.conf", "a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    server, outside = published(
        bench, [programs / "postgres", "-D", bench.dir / "data", "-p", port, "-k", bench.dir, "-c",
                f"listen_addresses={bench.any}", "-c", "fsync=off", "-c", "shared_buffers=32MB"], port,
        # The answer to a request for TLS: no, but a server.
        lambda p: answers(p, bytes.fromhex("0000000804d2162f"), b"N"), limit=300)
    rows = bench.size(20_000, 2_000)
    text = "".join(f"{i}\t{os.urandom(24).hex()}\n" for i in range(rows))
    bench.file("rows", text)
    options = f"-h 127.0.0.1 -p {outside} -U tester"
    got = bench.script(f"""
        psql {options} -q -d postgres -c 'create table t (i int, v text)' -c '\\copy t from rows'
        psql {options} -q -d postgres -c '\\copy (select * from t order by i) to back' -tA -c 'select count(*) from t'
        pgbench {options} -i -q postgres 2>/dev/null
        pgbench {options} -c 8 -j 2 -t {bench.size(50, 10)} postgres 2>&1""", limit=240).ok()
    equal(got.out.splitlines()[0], str(rows), "rows in the table")
    equal((bench.dir / "back").read_text(), text, "the rows that came back")
    done = bench.size(50, 10) * 8
    check(f"actually processed: {done}/{done}" in got.out and "failed transactions: 0 " in got.out,
          f"pgbench said\n{got.out[-1500:]}")
    server.stop()


# --- mail -----------------------------------------------------------------------------------------

def exim_conf(bench, name, port, router):
    """A mail server that keeps everything in the bench's directory, as the programs' user."""
    user = "nobody" if AS_USER else pwd.getpwuid(os.geteuid()).pw_name
    group = "nogroup" if AS_USER else grp.getgrgid(os.getegid()).gr_name
    return bench.file(name, f"""primary_hostname = {name}.example
        daemon_smtp_ports = {port}
        local_interfaces = {bench.any}
        spool_directory = {bench.dir}/{name}-spool
        log_file_path = {bench.dir}/{name}-%slog
        pid_file_path = {bench.dir}/{name}-pid
        exim_user = {user}
        exim_group = {group}
        never_users =
        host_lookup =
        rfc1413_query_timeout = 0s
        deliver_drop_privilege = true
        acl_smtp_rcpt = accept
        acl_smtp_data = accept
        keep_environment =
        tls_advertise_hosts =
        begin routers
        all:
          {router}
        begin transports
        file:
          driver = appendfile
          file = {bench.dir}/mailbox
        relay:
          driver = smtp
        begin retry
        * * F,1h,1s
        """.replace("\n        ", "\n"))


def exim_command(bench, conf):
    return ["exim4", "-C", conf, "-bdf", "-q5s"]


@shows("exim", ("exim4 -C F -bdf", "swaks --server H --port P --to A --attach @F"),
       "three runs: swaks gives a message with an attachment to one server, which relays it to another, which "
       "puts it into a mailbox")
def smtp_exchange(bench):
    """swaks, exim as a relay, exim as the mailbox's server."""
    need("exim4", "swaks")
    payload = bench.payload(bench.size(1_000_000, 100_000))
    last, first = free_port(), free_port()
    greeting = lambda p: greets(p, b"220 ")  # noqa: E731
    conf = exim_conf(bench, "last", last, "driver = accept\n  transport = file")
    server, outside = published(bench, exim_command(bench, conf), last, greeting, limit=180)
    conf = exim_conf(bench, "first", first, "driver = manualroute\n  transport = relay\n  self = send\n"
                                            f"  route_list = * 127.0.0.1::{outside} byname")
    relay, entry = published(bench, exim_command(bench, conf), first, greeting, limit=180)
    bench.run(["swaks", "--server", "127.0.0.1", "--port", entry, "--from", "a@example.org", "--to", "b@last.example",
               "--body", "with an attachment", "--attach", f"@{payload}", "--timeout", "60"], limit=120).ok()
    mailbox = bench.dir / "mailbox"
    bench.until(lambda: "Completed" in (bench.dir / "last-mainlog").read_text(), limit=60, process=server,
                what="the message in the mailbox")
    message = email.message_from_string(mailbox.read_text())
    parts = [p for p in message.walk() if p.get_filename()]
    equal([sha256(base64.b64decode(p.get_payload())) for p in parts], [sha256(payload)], "the attachment")
    check("first.example" in str(message.get_all("Received")), "the message did not come through the relay")
    relay.stop()
    server.stop()


# --- node and java --------------------------------------------------------------------------------

NODE_SERVER = """
const http = require('http'), fs = require('fs'), crypto = require('crypto');
http.createServer((request, response) => {
  if (request.method === 'POST') {
    const hash = crypto.createHash('sha256');
    request.on('data', part => hash.update(part)).on('end', () => response.end(hash.digest('hex')));
  } else {
    fs.createReadStream(process.argv[2]).on('error', () => { response.statusCode = 404; response.end(); }).pipe(response);
  }
}).listen(process.argv[3], process.argv[4]);
"""

NODE_CLIENT = """
const http = require('http'), fs = require('fs'), crypto = require('crypto');
const [, , port, file, count] = process.argv;
const agent = new http.Agent({keepAlive: true, maxSockets: 4});
const body = fs.readFileSync(file), wanted = crypto.createHash('sha256').update(body).digest('hex');
let left = 2 * count, wrong = 0;
function done(hash) {
  if (hash !== wanted) ++wrong;
  if (--left === 0) { console.log(wrong + ' wrong'); agent.destroy(); }
}
for (let i = 0; i < count; ++i) {
  http.get({host: '127.0.0.1', port, agent}, response => {
    const hash = crypto.createHash('sha256');
    response.on('data', part => hash.update(part)).on('end', () => done(hash.digest('hex')));
  });
  const post = http.request({host: '127.0.0.1', port, agent, method: 'POST'}, response => {
    let text = '';
    response.on('data', part => text += part).on('end', () => done(text));
  });
  post.end(body);
}
"""


@shows("node", ("node S F P H", "node S P F N"),
       "server and client in two runs: files down and up over four connections kept open, by streams")
def node_pair(bench):
    """node's http module, both ends."""
    need("node")
    port = free_port()
    payload = bench.payload(bench.size(500_000, 30_000))
    programs = bench.file("server.js", NODE_SERVER), bench.file("client.js", NODE_CLIENT)
    server, outside = published(bench, ["node", programs[0], payload, port, bench.any], port, serves_http)
    got = bench.run(["node", programs[1], outside, payload, bench.size(20, 8)], limit=120).ok()
    equal(got.out, "0 wrong\n", "transfers by node")
    server.stop()


JAVA_SERVER = """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.*;
import java.util.concurrent.Executors;
public class Server {
  public static void main(String[] words) throws Exception {
    byte[] body = Files.readAllBytes(Path.of(words[0]));
    HttpServer server = HttpServer.create(new InetSocketAddress(words[2], Integer.parseInt(words[1])), 50);
    server.createContext("/", exchange -> {
      byte[] answer = exchange.getRequestMethod().equals("PUT") ? exchange.getRequestBody().readAllBytes() : body;
      exchange.sendResponseHeaders(200, answer.length);
      exchange.getResponseBody().write(answer);
      exchange.close();
    });
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.start();
  }
}
"""

JAVA_CLIENT = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.CompletableFuture;
public class Client {
  public static void main(String[] words) throws Exception {
    byte[] body = Files.readAllBytes(Path.of(words[1]));
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    List<CompletableFuture<Boolean>> all = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(words[2]); ++i) {
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + words[0] + "/"));
      if (i % 2 == 1) request.PUT(HttpRequest.BodyPublishers.ofByteArray(body));
      all.add(client.sendAsync(request.build(), HttpResponse.BodyHandlers.ofByteArray())
                  .thenApply(response -> Arrays.equals(response.body(), body)));
    }
    long right = 0;
    for (CompletableFuture<Boolean> one : all) if (one.get()) ++right;
    System.out.println(right + " right");
    System.exit(0);
  }
}
"""


@shows("java", ("java S F P H", "java S P F N"),
       "server and client in two runs: the JDK's HttpServer and HttpClient (NIO), transfers down and up at once")
def java_pair(bench):
    """The JDK's own http server and client."""
    need("java")
    if subprocess.run(["java", "--list-modules"], capture_output=True, text=True).stdout.find("jdk.compiler") < 0:
        raise Skipped("this java has no compiler")
    port = free_port()
    payload = bench.payload(bench.size(500_000, 40_000))
    programs = bench.file("Server.java", JAVA_SERVER), bench.file("Client.java", JAVA_CLIENT)
    server, outside = published(bench, ["java", programs[0], payload, port, bench.any], port, serves_http)
    got = bench.run(["java", programs[1], outside, payload, bench.size(24, 8)], limit=180).ok()
    equal(got.out.split("\n")[0], f"{bench.size(24, 8)} right", "transfers by java")
    server.stop()


SCENARIOS = [postgres_bench, smtp_exchange, node_pair, java_pair]
