"""Services that people run, both ends under `tidewire run` where they can be: git, sshd, rsync, TLS, memcached,
active ftp. The server's run publishes its port; the client is in a run of its own."""
import pathlib
import socket
import ssl

from _program_rows import shows
from _programs import PYTHON, Skipped, check, equal, free_port, need, sha256

RANDOM_KEYS = ["-t", "ed25519", "-N", "", "-q", "-f"]


def connects(port):
    with socket.create_connection(("127.0.0.1", port), 5):
        return True


def greets(port, start):
    """True once a server says hello with these bytes."""
    with socket.create_connection(("127.0.0.1", port), 5) as c:
        c.settimeout(5)
        return c.recv(len(start)) == start


def answers(port, question, start):
    """True once a server answers a question with these bytes. A port that run publishes can be connected to
    before the program listens, so that alone says nothing."""
    with socket.create_connection(("127.0.0.1", port), 5) as c:
        c.settimeout(5)
        c.sendall(question)
        return c.recv(len(start)) == start


def serves_http(port):
    return answers(port, b"GET /none HTTP/1.0\r\n\r\n", b"HTTP/")


def speaks_tls(port):
    with socket.create_connection(("127.0.0.1", port), 5) as c:
        c.settimeout(5)
        return bool(ssl._create_unverified_context().wrap_socket(c))


def published(bench, argv, port, ready, **more):
    """(process, port of the host) of a server in a run of its own that has begun to serve. more_specs: other
    ports that it publishes."""
    specs, outside = bench.publish(port, udp=more.pop("udp", False), tcp=more.pop("tcp", True))
    server = bench.run(argv, publish=specs + more.pop("more_specs", []), limit=more.pop("limit", 120), **more)
    bench.until(lambda: ready(outside), process=server)
    return server, outside


def prepared(bench, text):
    """A shell script of the host that prepares something, as the user the programs run as."""
    return bench.host(["/bin/bash", "-euc", text, "prepare"], name="prepare").ok()


# --- git ------------------------------------------------------------------------------------------

def repository(bench, name="origin.git"):
    """A bare repository with one commit of some files, made as the programs' user."""
    bench.payload(bench.size(2_000_000, 200_000), "big")
    bench.file(".gitconfig", "[user]\n name = A\n email = a@example.org\n[safe]\n directory = *\n"
                             "[init]\n defaultBranch = main\n[protocol \"file\"]\n allow = always\n")
    prepared(bench, f"""git init -q first; cd first; cp ../big .; for i in $(seq 50); do echo $i >file$i; done
        git add .; git commit -q -m one; cd ..; git clone -q --bare first {name}
        git -C {name} config http.receivepack true""")


GIT_DIALOGUE = """
git clone -q $1 copy; cmp big copy/big
cd copy; head -c 100000 ../big >more; git add more; git commit -q -m two; git push -q origin main
cd ..; git clone -q $1 again; cmp copy/more again/more
git -C copy log --format=%s | tr '\\n' ' '"""

GIT_SERVER = '''
import http.server, os, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    """The smart protocol of git: each request is one `git http-backend`."""
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = dict(os.environ, GIT_PROJECT_ROOT=sys.argv[2], GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=str(len(body)),
                   CONTENT_TYPE=self.headers.get("Content-Type", ""), GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""), REMOTE_ADDR="127.0.0.1")
        done = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE)
        head, _, answer = done.stdout.partition(b"\\r\\n\\r\\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\\r\\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((sys.argv[3], int(sys.argv[1])), Handler).serve_forever()
'''


@shows("git", ("python3 S P D H", "git clone U", "git push origin main"),
       "over http, `git http-backend` behind a small server in one run, git in another: clone, push, clone again")
def git_http(bench):
    """git over http: clone, commit, push, clone; the smart protocol."""
    need("git")
    repository(bench)
    server, outside = published(bench, [PYTHON, bench.file("server.py", GIT_SERVER), port := free_port(), bench.dir,
                                        bench.any], port, serves_http)
    got = bench.script(GIT_DIALOGUE, f"http://127.0.0.1:{outside}/origin.git", limit=90).ok()
    equal(got.out.split(), ["two", "one"], "commits after the push")
    server.stop()


# --- ssh ------------------------------------------------------------------------------------------

def wrapper_library():
    """The library that lets sshd know a user with a shell where nobody has none."""
    found = sorted(pathlib.Path("/usr/lib").glob("*/libnss_wrapper.so"))
    if not found:
        raise Skipped("libnss-wrapper is not installed")
    return found[0]


def ssh_server(bench):
    """(process, port of the host) of an sshd in a run; `ssh -F ssh_config server` reaches it."""
    need("sshd", "ssh", "scp", "ssh-keygen")
    library, port = wrapper_library(), free_port()
    user = bench.host(["id", "-u"]).ok().out.strip(), bench.host(["id", "-g"]).ok().out.strip()
    bench.file("passwd", f"tester:x:{user[0]}:{user[1]}::{bench.dir}:/bin/bash\n"
                         f"sshd:x:74:74::/run/sshd:/usr/sbin/nologin\n")
    bench.file("group", f"tester:x:{user[1]}:\n")
    for name in ("hostkey", "userkey"):
        bench.host(["ssh-keygen", *RANDOM_KEYS, name]).ok()
    config = bench.file("sshd_config", f"""Port {port}
        ListenAddress {bench.any}
        HostKey {bench.dir}/hostkey
        AuthorizedKeysFile {bench.dir}/userkey.pub
        PidFile none
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        Subsystem sftp internal-sftp
        """)
    start = bench.file("start.sh", f"""export LD_PRELOAD={library} NSS_WRAPPER_PASSWD={bench.dir}/passwd
        export NSS_WRAPPER_GROUP={bench.dir}/group
        exec /usr/sbin/sshd -D -e -f {config}\n""")
    server, outside = published(bench, ["/bin/bash", start], port, lambda p: greets(p, b"SSH-2.0"))
    bench.file("ssh_config", f"""Host server
        HostName 127.0.0.1
        Port {outside}
        User tester
        IdentityFile {bench.dir}/userkey
        StrictHostKeyChecking no
        UserKnownHostsFile {bench.dir}/known
        LogLevel ERROR
        """)
    return server


def with_user(bench, text):
    """A script whose programs know who their user is: ssh asks for its own name."""
    return bench.script(f"""export LD_PRELOAD={wrapper_library()} NSS_WRAPPER_PASSWD={bench.dir}/passwd
        export NSS_WRAPPER_GROUP={bench.dir}/group GIT_SSH_COMMAND='ssh -F {bench.dir}/ssh_config'
        {text}""", limit=120)


@shows("ssh", ("bash S", "ssh -F F server …", "scp -F F F server:F", "sftp -F F -b F server"),
       "`sshd -D` as a plain user in one run, clients in another: a command with bytes through its pipes, "
       "files up and down by scp and sftp")
def ssh_and_scp(bench):
    """sshd in a run; ssh with a command, scp up and down, sftp."""
    payload = bench.payload(bench.size(3_000_000, 200_000))
    server = ssh_server(bench)
    bench.file("batch", f"get {bench.dir}/payload fetched\n")
    got = with_user(bench, f"""
        ssh -F ssh_config server 'echo hello from $SSH_CONNECTION | cut -c1-10'
        ssh -F ssh_config server cat <payload >echoed
        scp -q -F ssh_config payload server:{bench.dir}/up
        scp -q -F ssh_config server:{bench.dir}/payload down
        sftp -q -F ssh_config -b batch server >/dev/null""").ok()
    equal(got.out, "hello from\n", "what the command said")
    for name in ("echoed", "up", "down", "fetched"):
        equal(sha256(bench.dir / name), sha256(payload), f"the file {name}")
    server.stop()


@shows("ssh", ("ssh -F F -N -L P:H:P server", "curl -o F U"),
       "a forwarded port: curl through ssh's tunnel to a web server beside sshd")
def ssh_tunnel(bench):
    """A port forwarded by ssh, two transfers at once through it."""
    need("curl")
    payload = bench.payload(bench.size(1_000_000, 100_000))
    server = ssh_server(bench)
    near, far = free_port(), free_port()
    web = bench.host([PYTHON, "-m", "http.server", "--bind", "127.0.0.1", far], limit=120)
    bench.until(lambda: connects(far), process=web)
    with_user(bench, f"""ssh -F ssh_config -N -L {near}:127.0.0.1:{far} server & tunnel=$!
        unset LD_PRELOAD
        for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/{near}) 2>/dev/null && break; sleep 0.1; done
        curl -sS -o one http://127.0.0.1:{near}/payload & first=$!
        curl -sS -o two http://127.0.0.1:{near}/payload
        wait $first; kill $tunnel; wait $tunnel || true""").ok()
    equal([sha256(bench.dir / n) for n in ("one", "two")], [sha256(payload)] * 2, "files through the tunnel")
    server.stop()


@shows("git", ("git clone U", "git push origin main"), "over ssh to that sshd: clone, push, clone again")
def git_ssh(bench):
    """git over ssh: clone, commit, push, clone."""
    need("git")
    repository(bench)
    server = ssh_server(bench)
    got = with_user(bench, f"set -- ssh://server{bench.dir}/origin.git\n" + GIT_DIALOGUE).ok()
    equal(got.out.split(), ["two", "one"], "commits after the push")
    server.stop()


# --- rsync ----------------------------------------------------------------------------------------

@shows("rsync", ("rsync --daemon --no-detach --port=P --config=F", "rsync -a rsync://H:P/files/ D",
                 "rsync -a D rsync://H:P/files/"),
       "daemon and client in two runs: a tree down, changes up, only the difference the second time")
def rsync_daemon(bench):
    """rsync --daemon: a tree down, a change up."""
    need("rsync")
    port = free_port()
    files = bench.dir / "files"
    payload = bench.payload(bench.size(2_000_000, 200_000))
    prepared(bench, "mkdir files; cp payload files/big; for i in $(seq 60); do echo $i >files/$i; done")
    config = bench.file("rsyncd.conf", f"use chroot = no\npid file = {bench.dir}/pid\n"
                                       f"[files]\n path = {files}\n read only = no\n")
    server, outside = published(bench, ["rsync", "--daemon", "--no-detach", f"--port={port}", f"--config={config}",
                                        f"--address={bench.any}", "--log-file=/dev/null"], port,
                                lambda p: greets(p, b"@RSYNCD:"))
    got = bench.script(f"""url=rsync://127.0.0.1:{outside}/files/
        rsync -a rsync://127.0.0.1:{outside}/files/ copy; diff -r files copy
        echo changed >copy/7; cp payload copy/new
        rsync -a copy/ rsync://127.0.0.1:{outside}/files/; diff -r files copy
        rsync -a --stats copy/ $url | grep 'regular files transferred'""").ok()
    check(got.out.strip().endswith(": 0"), f"the second time rsync said {got.out!r}")
    equal(sha256(files / "new"), sha256(payload), "the file that went up")
    server.stop()


# --- TLS ------------------------------------------------------------------------------------------

def certificate(bench):
    bench.host(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]).ok()


@shows("openssl", ("openssl s_server -accept P -WWW", "openssl s_client -connect H:P",
                   "curl --cacert F -o F https://localhost:P/F"),
       "server and clients in two runs, TLS 1.2 and 1.3: the certificate is verified, files arrive")
def openssl_pair(bench):
    """openssl s_server -WWW with s_client by TLS 1.2 and 1.3, and curl over https."""
    need("openssl", "curl")
    port = free_port()
    payload = bench.payload(bench.size(2_000_000, 200_000))
    certificate(bench)
    server, outside = published(bench, ["openssl", "s_server", "-accept", f"{bench.any}:{port}", "-WWW", "-quiet",
                                        "-cert", "cert.pem", "-key", "key.pem"], port, speaks_tls)
    got = bench.script(f"""for how in -tls1_2 -tls1_3; do
          printf 'GET /payload HTTP/1.0\\r\\n\\r\\n' |
            openssl s_client -connect 127.0.0.1:{outside} $how -CAfile cert.pem -verify_return_error -quiet 2>err \\
              >answer$how
          echo ended
        done
        curl -sS --http1.0 --cacert cert.pem -o got https://localhost:{outside}/payload""").ok()
    equal(got.out.split(), ["ended", "ended"], "dialogues by TLS 1.2 and 1.3")
    for how in ("-tls1_2", "-tls1_3"):
        body = (bench.dir / f"answer{how}").read_bytes().partition(b"\r\n\r\n")[2]
        equal(sha256(body), sha256(payload), f"the answer by {how}")
    equal(sha256(bench.dir / "got"), sha256(payload), "what curl got over https")
    server.stop()


# --- memcached ------------------------------------------------------------------------------------

MEMCACHED_CLIENT = """
import hashlib, os, socket, struct, sys
port, size = int(sys.argv[1]), int(sys.argv[2])
value = os.urandom(size)
c = socket.create_connection(("127.0.0.1", port))
f = c.makefile("rwb")
for i in range(20):
    f.write(b"set key%d 0 0 %d\\r\\n" % (i, len(value)) + value + b"\\r\\n"); f.flush()
    assert f.readline() == b"STORED\\r\\n"
f.write(b"get " + b" ".join(b"key%d" % i for i in range(20)) + b"\\r\\n"); f.flush()
for i in range(20):
    assert f.readline() == b"VALUE key%d 0 %d\\r\\n" % (i, len(value))
    assert f.read(len(value) + 2) == value + b"\\r\\n"
assert f.readline() == b"END\\r\\n"
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(1)
u.connect(("127.0.0.1", port))
for attempt in range(10):
    u.send(struct.pack("!HHHH", attempt, 0, 1, 0) + b"version\\r\\n")
    try:
        answer = u.recv(2000)
    except TimeoutError:
        continue
    print("stored", answer[8:15].decode())
    break
"""


@shows("memcached", ("memcached -p P -U P -l H", "python3 S P …"),
       "server and client in two runs: twenty values stored and read back, a question over UDP")
def memcached_values(bench):
    """memcached over TCP and UDP."""
    need("memcached")
    port = free_port()
    program = bench.file("client.py", MEMCACHED_CLIENT)
    server, outside = published(bench, ["memcached", "-p", port, "-U", port, "-l", bench.any, "-t", "2"], port,
                                lambda p: answers(p, b"version\r\n", b"VERSION"), udp=True)
    got = bench.run([PYTHON, program, outside, bench.size(100_000, 5_000)]).ok()
    equal(got.out.split(), ["stored", "VERSION"], "what the client found")
    server.stop()


# --- ftp ------------------------------------------------------------------------------------------

@shows("ftp", ("python3 -m pyftpdlib -p P", "tnftp -n -v"),
       "in one run, active: the server opens the data connections, put, list, get")
def ftp_active(bench):
    """tnftp and pyftpdlib in one run: listing, put, get, all active (PORT and EPRT)."""
    need("tnftp")
    port = free_port()
    payload = bench.payload(bench.size(2_000_000, 300_000), "up")
    (bench.dir / "ftp").mkdir()
    (bench.dir / "ftp").chmod(0o777)
    commands = bench.file("commands", "\n".join((
        f"open 127.0.0.1 {port}", "user anonymous someone@example.org", "binary", "passive off", "put up", "ls",
        "get up down", "epsv4 off", "get up second", "quit", "")))
    client = bench.script(f"""
        {PYTHON} -m pyftpdlib -i 127.0.0.1 -p {port} -w -d ftp 2>server.log & server=$!
        for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.1; done
        tnftp -n -v <{commands} 2>&1
        kill $server; wait $server || true""").ok()
    check("PORT command successful" in client.out or "EPRT" in client.out.upper() or "Active data" in client.out,
          f"no active transfer: {client.out[-800:]}")
    check("passive mode (" not in client.out, f"a passive transfer: {client.out[-800:]}")
    for name in ("down", "second"):
        equal(sha256(bench.dir / name), sha256(payload), f"the file {name}")


@shows("ftp", ("tnftp -n -v", "host: python3 -m pyftpdlib -p P"),
       "passive through the gateway: the server is of the host, the client in a run; put, list, get")
def ftp_passive_gateway(bench):
    """A client in a run, passive, to a server of the host."""
    need("tnftp")
    port, low = free_port(), free_port()
    payload = bench.payload(bench.size(2_000_000, 150_000), "up")
    (bench.dir / "ftp").mkdir()
    (bench.dir / "ftp").chmod(0o777)
    server = bench.host([PYTHON, "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", port, "-w", "-d", "ftp", "-r",
                         f"{low}-{low + 20}"], limit=120)
    bench.until(lambda: greets(port, b"220"), process=server)
    commands = bench.file("commands", "\n".join((
        f"open 127.0.0.1 {port}", "user anonymous someone@example.org", "binary", "passive on", "put up", "ls",
        "get up down", "epsv4 off", "get up second", "quit", "")))
    with open(commands) as stdin:
        client = bench.run(["tnftp", "-n", "-v"], stdin=stdin, limit=90).ok()
    check("Entering passive mode" in client.out and "Entering extended passive mode" in client.out,
          f"ftp said {client.out[-800:]}")
    for name in ("down", "second"):
        equal(sha256(bench.dir / name), sha256(payload), f"the file {name}")
    server.stop()


SCENARIOS = [git_http, ssh_and_scp, ssh_tunnel, git_ssh, rsync_daemon, openssl_pair, memcached_values, ftp_active, ftp_passive_gateway]
