#!/usr/bin/python3
"""How lockstepd starts, is configured, works with Redis clients, and stops."""

import copy
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, pairs, read_box  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def new_server(given, *flags, **options):
    return Server(given.build, scratch("life") / "data", *flags, **options)


def run(given, *flags):
    """Runs lockstepd, which must end by itself."""
    return subprocess.run([str(given.build.lockstepd), *map(str, flags)], capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL, check=False)


def the_manual_lists_the_commands_that_there_are(given):
    with open(os.path.join(ROOT, "docs", "commands.md"), encoding="utf-8") as page:
        equal(run(given, "--print-commands").stdout, page.read(), "docs/commands.md")


def the_packaged_settings_are_those_there_are(given):
    with open(os.path.join(ROOT, "packaging", "lockstepd.conf"), encoding="utf-8") as conf:
        packaged = re.findall(r"^#?([a-z]+(?:-[a-z]+)*) \S+$", conf.read(), re.MULTILINE)
    listed = re.findall(r"^    --([a-z-]+) \(", run(given, "--help").stdout, re.MULTILINE)
    equal(packaged, listed, "settings in packaging/lockstepd.conf")
    done = run(given, "--config", os.path.join(ROOT, "packaging", "lockstepd.conf"), "--listen", "x:y")
    equal(done.returncode, 2, "the exit code with a good file and a bad address")
    assert "listen" in done.stderr, done.stderr


def wrong_usage_is_said_in_one_sentence(given):
    for flags, part in (((), None), (("--nothing", "1"), "--nothing"), (("store",), "expected a flag"),
                        (("--store",), "needs a value"), (("--sync", "maybe"), "yes or no"),
                        (("--connections-max", "0"), "from 1 to"), (("--quota", "1x"), "a size such as"),
                        (("--node-ttl", "5"), "from 100 to"), (("--log-level", "loud"), "notice"),
                        (("--store", "mem:", "--listen", ""), "listen must be"),
                        (("--request-max", "99999999999999999999"), "a size"), (("--nothing=1",), "--nothing")):
        if part is None:
            continue
        done = run(given, *flags)
        equal(done.returncode, 2, f"the exit code of {flags}")
        assert part in done.stderr, f"{flags}: {done.stderr}"
        equal(len(done.stderr.splitlines()), 1, f"lines about {flags}")
    equal(run(given, "--version").stdout.split()[0], "lockstepd", "--version")
    equal(run(given, "--help").returncode, 0, "--help")


def what_keeps_it_from_starting_is_said(given):
    directory = scratch("bad")
    with new_server(given) as server:
        done = run(given, "--store", directory / "x", "--listen", f"127.0.0.1:{server.port}")
        equal(done.returncode, 1, "the exit code on a port in use")
        last = done.stderr.splitlines()[-1]
        said = f"cannot listen on 127.0.0.1:{server.port}: address already in use"
        assert last.endswith(said), done.stderr
    for flags, code, part in ((("--listen", "no.such.host.invalid"), 2, "no.such.host.invalid"),
                              (("--listen", "127.0.0.1:99999"), 2, "listen must be"),
                              (("--listen", "[::1"), 2, "listen must be"),
                              (("--listen", "unix:"), 2, "from 1 to 107"),
                              (("--listen", f"unix:/{'x' * 107}"), 2, "from 1 to 107"),
                              (("--store", "ftp:x"), 2, "ftp"),
                              (("--config", directory / "none"), 1, "none"),
                              (("--store", "/proc/nowhere/x"), 1, "/proc/nowhere")):
        done = run(given, "--store", directory / "y", "--listen", "127.0.0.1:0", *flags)
        equal(done.returncode, code, f"the exit code of {flags}: {done.stderr}")
        assert part in done.stderr, f"{flags}: {done.stderr}"
    (directory / "conf").write_text("# settings\n\nquota  1mb\nsync perhaps\n")
    done = run(given, "--config", directory / "conf")
    equal(done.returncode, 2, "the exit code with a wrong file")
    assert "conf, line 4: sync must be yes or no" in done.stderr, done.stderr
    (directory / "damaged").mkdir()
    (directory / "damaged" / "data.mdb").write_bytes(os.urandom(1 << 16))
    done = run(given, "--store", directory / "damaged", "--listen", "127.0.0.1:0")
    equal(done.returncode, 1, "the exit code on a damaged directory")


def settings_come_from_the_file_and_flags_win(given):
    directory = scratch("conf")
    (directory / "conf").write_text('# first\nlisten 127.0.0.1:1\n\n  quota 3gb  \nmessage-max 5k\n'
                                    '\tpassword "se cret"\nretention-age\t9\n')
    with new_server(given, "--config", str(directory / "conf"), "--message-max=6k") as server:
        client = server.client()
        equal(client.must("AUTH", "se cret"), b"OK", "AUTH")
        equal(pairs(client.must("CONFIG", "GET", "*-max", "quota", "retention-age", "listen"))["message-max"],
              b"6000", "message-max")
        equal(pairs(client.must("CONFIG", "GET", "quota")), {"quota": str(3 << 30).encode()}, "quota")
        equal(pairs(client.must("CONFIG", "GET", "listen")), {"listen": b"127.0.0.1:0"}, "listen")


def config_set_changes_all_or_nothing(given):
    with new_server(given) as server, server.client() as client, server.client(hello=3) as three:
        equal(client.must("CONFIG", "SET", "message-max", "100", "LOG-LEVEL", "debug"), b"OK", "CONFIG SET")
        refused(client.call("MSG.POST", "user", "-", "TEXT", "x" * 100), "TOOBIG", "100")
        refused(client.call("CONFIG", "SET", "message-max", "200", "quota", "x"), "ERR", "quota must be")
        refused(client.call("CONFIG", "SET", "message-max", "200", "store", "x"), "ERR", "when the server starts")
        refused(client.call("CONFIG", "SET", "nothing", "200"), "ERR", "there is no setting 'nothing'")
        refused(client.call("CONFIG", "SET", "message-max"), "ERR")
        refused(client.call("CONFIG", "RESETSTAT", "x"), "ERR")
        equal(three.must("CONFIG", "GET", "message-m*"), {b"message-max": b"100"}, "message-max")
        equal(client.must("CONFIG", "GET", "nothing"), [], "CONFIG GET nothing")
        settings = set(re.findall(r"--([a-z-]+) \(default", run(given, "--help").stdout))
        equal({name.decode() for name in three.must("CONFIG", "GET", "*")},
              settings | {"save", "appendonly", "databases"}, "all settings")
        client.must("CONFIG", "SET", "request-max", "2000")
        refused(client.call("PING", "x" * 3000), "TOOBIG", "2000")
        client.close()
        with server.client() as other:
            other.must("CONFIG", "SET", "connections-max", "3", "request-max", "1mb")
            with server.client() as last, server.client() as extra:
                equal(last.must("PING"), b"PONG", "the third client")
                refused(extra.reply(), "ERR", "max number of clients reached")


def quota_and_retention_take_hold_while_it_runs(given):
    with new_server(given, "--sync", "no") as server, server.client() as client:
        client.pipeline([("MSG.POST", "user", "-", "TEXT", "x" * 1000)] * 1000)
        client.must("CONFIG", "SET", "retention-count", "10")
        wait_until(lambda: pairs(client.must("MSG.INFO"))["count"] == 10, "the others to be discarded")
        client.must("CONFIG", "SET", "retention-count", "0", "retention-hold", "yes", "retention-bytes", "2000")
        client.must("NODE.JOIN", "slow")
        info = wait_until(lambda: (lambda i: i if i["count"] < 5 else None)(pairs(client.must("MSG.INFO"))),
                          "more to be discarded")
        equal((info["held-by"], info["held-from"]), (b"slow", 1), "who holds")
        client.must("CONFIG", "SET", "retention-bytes", "0", "quota", "1")
        refused(client.call("MSG.POST", "user", "-", "TEXT", "x"), "NOSPACE")
        equal(client.must("OBJ.DEL", "k"), 0, "a deletion")
        client.must("CONFIG", "SET", "quota", "0")
        client.must("MSG.POST", "user", "-", "TEXT", "x")


def it_answers_everything_before_it_stops(given):
    with new_server(given) as server:
        client = server.client()
        client.send_all([("MSG.POST", "user", "-", "TEXT", str(i)) for i in range(2000)])
        equal(client.reply(), 1, "the first reply")
        server.process.send_signal(signal.SIGHUP)  # nothing to it
        server.process.send_signal(signal.SIGTERM)
        answered = 1
        try:
            while True:
                reply = client.reply()
                equal(reply, answered + 1, "the next reply")
                answered += 1
        except Closed:
            pass
        equal(server.ended(), 0, "the exit code")
        assert "stopping: SIGTERM" in server.log()
        with server as again, again.client() as reader:
            kept = len(read_box(reader))
            assert kept >= answered, f"{answered} answered, {kept} kept"
            equal(kept, answered, "posts kept but not answered, though the client read on")


def a_blocked_client_is_told_that_it_stops(given):
    with new_server(given) as server, server.client() as client, server.client() as other:
        client.send("MSG.READ", "$", "BLOCK", 0)
        wait_until(lambda: b"blocked_clients:1\r\n" in other.must("INFO", "clients"), "the read to wait")
        other.send("SHUTDOWN", "NOSAVE")
        refused(client.reply(), "SHUTDOWN")
        equal(server.ended(), 0, "the exit code")


def who_sends_on_gets_to_read_why_it_is_closed(given):
    """All of it is sent before anything is read, more than any buffer on the way takes."""
    much = b"x" * (40 << 20)
    large = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(much), much)
    with new_server(given) as server, server.client() as other:
        for data, word, part in ((large, "TOOBIG", "16777216"), (b"*1\r\n$-5\r\n" + much, "ERR", "bulk length"),
                                 (b"GET / HTTP/1.1\r\n" + much, "ERR", "HTTP"), (much, "ERR", "too big inline")):
            with server.client() as client:
                client.send_raw(data)
                refused(client.reply(), word, part)
                ends_in_order(client)
        with server.client() as client:
            client.send_raw(b"QUIT\r\n" + much)
            equal(client.reply(), b"OK", "QUIT")
            ends_in_order(client)
        other.must("CONFIG", "SET", "connections-max", "1")
        with server.client() as client:
            client.send_raw(much)
            refused(client.reply(), "ERR", "max number of clients")
            ends_in_order(client)


def ends_in_order(client):
    try:
        raise AssertionError(f"one reply too many: {client.reply()}")
    except Closed as reason:
        equal(str(reason), "end of stream", "how the connection ended")


def clients(client):
    """How many there are, and how many of them are on their way out."""
    text = client.must("INFO", "clients").decode()
    return tuple(int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("connected_clients", "closing_clients"))


def a_blocked_client_that_is_gone_is_let_go_whatever_it_sent_behind(given):
    """So much that the server does not read on, and does not see by reading that there is an end."""
    path = scratch("unix") / "socket"
    with new_server(given, "--listen", f"unix:{path}") as server, server.client() as other:
        for family, address in ((socket.AF_INET, ("127.0.0.1", server.port)), (socket.AF_UNIX, str(path))):
            with socket.socket(family, socket.SOCK_STREAM) as plain:
                plain.connect(address)
                plain.sendall(b"MSG.READ $ BLOCK 0\r\n" + b"PING\r\n" * 20000)
                wait_until(lambda: b"blocked_clients:1\r\n" in other.must("INFO", "clients"), "it to wait")
            wait_until(lambda: clients(other) == (1, 0), f"the end of {address} to be seen")


def who_never_ends_its_side_is_bounded(given):
    """A client that was told why it is closed may be as stubborn as it likes: what it sends takes no
    memory, there are not too many of its kind, and they keep nobody."""
    with new_server(given, "--connections-max", "30") as server, server.client() as client:
        endless = server.client()
        endless.send_raw(b"*1\r\n$-5\r\n")
        refused(endless.reply(), "ERR", "bulk length")
        before = server.memory()
        try:
            for _ in range(1000):
                endless.send_raw(b"x" * (1 << 20))
            raise AssertionError("a gigabyte was discarded")
        except Closed:
            pass
        assert server.memory() - before < 8 << 20, "what is discarded takes memory"
        silent = [server.client() for _ in range(100)]
        wait_until(lambda: b"rejected_connections:71\r\n" in client.must("INFO", "stats"), "71 to be refused")
        assert clients(client)[0] <= 30 + 16, f"{clients(client)}: beyond the few extra ones none lingers"
        wait_until(lambda: clients(client) == (30, 0), "those that linger to be closed")
        for peer in silent:
            peer.close()
        wait_until(lambda: clients(client) == (1, 0), "the others to be gone")
        with server.client() as peer:
            peer.send_raw(b"*1\r\n$-5\r\n")
            refused(peer.reply(), "ERR", "bulk length")
            wait_until(lambda: clients(client) == (2, 1), "it to linger")
            server.stop()
            assert "did not take their replies" not in server.log(), server.log()


def a_client_that_takes_nothing_does_not_keep_it_from_stopping(given):
    with new_server(given, "--sync", "no") as server, server.client() as client:
        for number in range(20):
            client.must("OBJ.PUT", f"k{number}", "x" * 1000000)
        client.send_all([("OBJ.SCAN", "k")] * 5)
        time.sleep(0.1)
        began = time.monotonic()
        server.stop(30)
        assert time.monotonic() - began < 15, "it took too long"


def a_second_signal_ends_it_at_once(given):
    with new_server(given, "--sync", "no") as server, server.client() as client:
        for number in range(20):
            client.must("OBJ.PUT", f"k{number}", "x" * 1000000)
        client.send_all([("OBJ.SCAN", "k")] * 5)
        wait_until(lambda: server.client().must("INFO", "clients").find(b"output_waiting_bytes:0") < 0,
                   "output to wait")
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping: SIGINT" in server.log(), "it to stop")
        server.process.send_signal(signal.SIGINT)
        equal(server.ended(), 1, "the exit code")


def all_is_there_after_a_restart(given):
    with new_server(given) as server:
        with server.client() as client:
            client.must("OBJ.PUT", "k", "v")
            client.must("NODE.JOIN", "host", "TTL", 86400000)
            client.must("MSG.POST", "user", "-", "TEXT", "x")
            clock = client.must("CLOCK.NEXT", 100) + 99
            box, nodes = read_box(client), client.must("NODE.LIST")
        server.stop()
        with server as again, again.client() as client:
            equal(client.must("OBJ.GET", "k"), [b"v", 1, 1], "the object")
            equal(read_box(client), box, "the box")
            equal(client.must("NODE.LIST"), nodes, "the nodes")
            equal(client.must("CLOCK.NEXT"), clock + 1, "the next clock")


def it_tells_a_service_manager(given):
    path = str(scratch("notify") / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        with new_server(given, environment={"NOTIFY_SOCKET": path}) as server:
            equal(manager.recv(100), b"READY=1", "what it says when it is ready")
            server.stop()
            equal(manager.recv(100), b"STOPPING=1", "what it says when it stops")


def it_listens_on_several_addresses(given):
    path = scratch("unix") / "socket"
    with new_server(given, "--listen", f"unix:{path}", "--listen", "[::1]:0") as server:
        equal(server.client().must("PING"), b"PONG", "PING over IPv4")
        port = int(re.search(r"listening on \[::1\]:(\d+)", server.log())[1])
        for family, address in ((socket.AF_UNIX, str(path)), (socket.AF_INET6, ("::1", port))):
            with socket.socket(family, socket.SOCK_STREAM) as plain:
                plain.settimeout(20)
                plain.connect(address)
                plain.sendall(b"PING\r\n")
                equal(plain.recv(100), b"+PONG\r\n", f"PING over {address}")
                plain.sendall(b"CLIENT INFO\r\n")
                assert b"addr=" in plain.recv(1000), "CLIENT INFO"
        server.stop()
        assert not path.exists(), "the socket file is left"


def a_socket_file_is_taken_only_where_nobody_has_it(given):
    path = scratch("unix") / "socket"
    listen = ("--store", "mem:", "--listen", f"unix:{path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        done = run(given, *listen)
        equal(done.returncode, 1, "the exit code where another has the path")
        assert "address already in use" in done.stderr, done.stderr
        assert path.exists(), "another's socket was removed"
    with new_server(given, *listen[2:]) as server:
        assert f"listening on unix:{path}" in server.log(), "what is left of it is in the way"


def a_limit_of_open_files_is_one_of_connections(given):
    """Whoever is one too many is told so, as with connections-max."""
    build = copy.copy(given.build)
    build.lockstepd = scratch("limit") / "lockstepd"
    build.lockstepd.write_text(f'#!/bin/sh\nulimit -n 100\nexec {given.build.lockstepd} "$@"\n')
    build.lockstepd.chmod(0o755)
    with Server(build, scratch("life") / "data") as server, server.client() as client:
        if "the system allows 100 open files" not in server.log():
            print("    skipped: this user may raise the limit")
            return
        def number(name):
            return int(re.search(rf"{name}:(\d+)", client.must("INFO").decode())[1])

        allowed = number("maxclients")
        others = [server.client() for _ in range(allowed - 1)]
        for other in others:
            other.must("PING")
        for _ in range(100):
            with server.client(hello=None) as other:
                refused(other.reply(), "ERR", "max number of clients reached")
        equal(number("rejected_connections"), 100, f"refusals beyond {allowed} connections")


def an_idle_server_is_small(given):
    if "SANITIZED" in os.environ:
        return  # a sanitizer's own memory counts there
    with new_server(given) as server:
        resident = server.memory("VmRSS")
        print(f"    resident: {resident / 1e6:.1f} MB")
        assert resident < 16 << 20, f"{resident} bytes resident"


def the_tools_of_redis_work(given):
    with new_server(given, "--sync", "no") as server:
        def tool(*args, **options):
            done = subprocess.run([args[0], "-p", str(server.port), *args[1:]], capture_output=True,
                                  text=True, timeout=60, check=False, **options)
            equal(done.returncode, 0, f"the exit code of {args}: {done.stderr}")
            return done.stdout
        equal(tool("redis-cli", "ping"), "PONG\n", "redis-cli ping")
        equal(tool("redis-cli", "-3", "msg.post", "user", "-", "TEXT", "x"), "1\n", "redis-cli msg.post")
        equal(tool("redis-cli", input="set k v\nget k\nnothing\n").splitlines()[:2], ["OK", "v"],
              "redis-cli with a script")
        for args in (("-t", "ping,set,get"), ("-t", "set,get", "-3"), ("-t", "set", "-P", "16", "-r", "1000"),
                     ("-P", "16", "MSG.POST", "user", "-", "TEXT", "x")):
            rows = tool("redis-benchmark", "-q", "--csv", "-n", "2000", *args).splitlines()[1:]
            assert rows and all(float(row.split(",")[1].strip('"')) > 0 for row in rows), rows


def the_redis_library_works(given):
    if not os.path.exists("/usr/lib/python3/dist-packages/redis"):
        print("    skipped: there is no python3-redis")
        return
    with new_server(given) as server:
        script = f"""
import redis
r = redis.Redis(port={server.port})
assert r.ping() and r.set('k', 'v') and r.get('k') == b'v' and r.exists('k') == 1 and r.delete('k') == 1
assert r.set('k', 'v', nx=True) and r.set('k', 'w', nx=True) is None and r.set('k', 'x', get=True) == b'v'
assert r.execute_command('MSG.POST', 'user', '-', 'JSON', '[1]') == 5
assert r.info()['connected_clients'] == 1 and 'message-max' in r.config_get('message*')
assert r.client_id() > 0 and r.client_setname('me') and r.client_getname() == 'me'
assert len(r.client_list()) == 1 and r.client_info()['db'] == 0 and r.echo('x') == b'x' and len(r.time()) == 2
with r.pipeline(transaction=False) as p:
    for i in range(100): p.set('k', i).get('k')
    got = p.execute()
assert got[1::2] == [str(i).encode() for i in range(100)], got
try: r.execute_command('MSG.READ', 'x')
except redis.ResponseError as error: assert 'expected a clock' in str(error)
else: assert False
assert redis.Redis(port={server.port}, db=0, client_name='n').ping()
"""
        done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True,
                              timeout=60, check=False)
        equal((done.returncode, done.stderr), (0, ""), "the Redis library of Python")


def output_past_its_limit_closes_the_client(given):
    with new_server(given, "--output-max", "1mb", "--sync", "no") as server, server.client() as client:
        client.must("OBJ.PUT", "k", "x" * 1000000)
        with server.client() as greedy:
            greedy.send_all([("GET", "k")] * 40)
            wait_until(lambda: "output-max" in server.log(), "the client to be closed")
        equal(client.must("PING"), b"PONG", "PING of another")
        assert b"output_limit_disconnections:1\r\n" in client.must("INFO", "stats")


def a_full_relay_receiver_is_skipped(given):
    with new_server(given, "--output-max", "2mb") as server, server.client() as sender, \
            server.client() as deaf:
        sender.must("NODE.JOIN", "a", "TTL", 86400000)
        deaf.must("NODE.JOIN", "b", "TTL", 86400000)
        sent = 0
        while sender.must("RELAY.SEND", "ONE", "TEXT", "x" * 500000) == 1:
            sent += 1
            assert sent < 1000, "the receiver is never full"
        equal(sender.must("RELAY.SEND", "BROADCAST", "TEXT", "x" * 500000), 0, "taken by the full one")
        for _ in range(sent):
            equal(deaf.read()[0], b"relay", "what it gets when it reads")
        wait_until(lambda: sender.must("RELAY.SEND", "ONE", "TEXT", "y") == 1, "it to take more")


def many_writers_make_one_order(given):
    with new_server(given) as server:
        clocks = [[] for _ in range(8)]

        def post(into):
            with server.client() as client:
                for _ in range(50):
                    into += client.pipeline([("MSG.POST", "user", "-", "TEXT", "x")] * 20)
        threads = [threading.Thread(target=post, args=(into,)) for into in clocks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for into in clocks:
            equal(into, sorted(into), "the clocks of one connection")
        equal(sorted(sum(clocks, [])), list(range(1, 8001)), "all clocks")


if __name__ == "__main__":
    report.run([
        the_manual_lists_the_commands_that_there_are,
        the_packaged_settings_are_those_there_are,
        wrong_usage_is_said_in_one_sentence,
        what_keeps_it_from_starting_is_said,
        settings_come_from_the_file_and_flags_win,
        config_set_changes_all_or_nothing,
        quota_and_retention_take_hold_while_it_runs,
        it_answers_everything_before_it_stops,
        a_blocked_client_is_told_that_it_stops,
        who_sends_on_gets_to_read_why_it_is_closed,
        a_blocked_client_that_is_gone_is_let_go_whatever_it_sent_behind,
        who_never_ends_its_side_is_bounded,
        a_client_that_takes_nothing_does_not_keep_it_from_stopping,
        a_second_signal_ends_it_at_once,
        all_is_there_after_a_restart,
        it_tells_a_service_manager,
        it_listens_on_several_addresses,
        a_socket_file_is_taken_only_where_nobody_has_it,
        a_limit_of_open_files_is_one_of_connections,
        an_idle_server_is_small,
        the_tools_of_redis_work,
        the_redis_library_works,
        output_past_its_limit_closes_the_client,
        a_full_relay_receiver_is_skipped,
        many_writers_make_one_order,
    ], report.arguments(__doc__))
