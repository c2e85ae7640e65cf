#!/usr/bin/python3
"""Every command of lockstepd: what it answers and how it refuses, in RESP2 and RESP3."""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cbor, report  # noqa: E402
from lib.process import Server, scratch, wait_until  # noqa: E402
from lib.report import equal, refused  # noqa: E402
from lib.resp import Closed, Error, pairs  # noqa: E402

ID = "00112233-4455-4677-8899-aabbccddeeff"
OTHER_ID = "ffeeddcc-bbaa-4988-8766-554433221100"


def new_server(given, *flags):
    return Server(given.build, scratch("commands") / "data", *flags)


def each_protocol(server):
    for hello in (None, 3):
        client = server.client(hello=hello)
        yield client
        client.close()


def the_clock_gives_witnesses_and_tells(given):
    with new_server(given) as server, server.client() as client:
        equal(client.must("CLOCK.GET"), 0, "the first clock")
        equal(client.must("CLOCK.NEXT"), 1, "the first value")
        equal(client.must("clock.next", 10), 2, "the first of ten")
        equal(client.must("CLOCK.GET"), 11, "the clock after them")
        equal(client.must("CLOCK.WITNESS", 5), 12, "witnessing the past")
        equal(client.must("CLOCK.WITNESS", 100), 101, "witnessing the future")
        refused(client.call("CLOCK.WITNESS", 101 + 2 ** 32 + 1), "CLOCKJUMP")
        for count in (0, 2 ** 20 + 1):
            refused(client.call("CLOCK.NEXT", count), "ERR", "count must be from 1 to 1048576")
        for text in ("-1", "x", "", "18446744073709551616", "1.5", "+1"):
            refused(client.call("CLOCK.WITNESS", text), "ERR", "whole number")
        refused(client.call("CLOCK.GET", "x"), "ERR", "wrong number of arguments for 'clock.get'")
        equal(client.must("CLOCK.GET"), 101, "the clock after the refusals")


def a_clock_beyond_63_bits_is_text_or_a_big_number(given):
    with new_server(given) as server, server.client() as two, server.client(hello=3) as three:
        clock = 0
        while clock < 2 ** 34:
            clock = two.must("CLOCK.WITNESS", clock + 2 ** 32)
        equal(two.must("CLOCK.GET"), clock, "RESP2")
        equal(three.must("CLOCK.GET"), clock, "RESP3")


def posts_are_read_back(given):
    with new_server(given) as server:
        for number, client in enumerate(each_protocol(server)):
            base = number * 6
            equal(client.must("MSG.POST", "user", "-", "TEXT", "grün"), base + 1, "a text")
            equal(client.must("MSG.POST", "U", "x", "JSON", '{"b":1,"a":[true,null]}'), base + 2, "json")
            equal(client.must("MSG.POST", "database", "created", "TO", "there", "CBOR", b"\x81\x01"),
                  base + 3, "cbor")
            equal(client.must("msg.post", "collection", "D", "to", "here", "text", ""), base + 4, "empty")
            equal(client.must("MSG.POST", "user", "-", "CLOCK", base, "JSON", "1.5"), base + 5, "old clock")
            messages = client.must("MSG.READ", base + 1, "COUNT", 5)
            equal([m[0] for m in messages], [base + i for i in range(1, 6)], "clocks")
            equal([m[1] + m[2] for m in messages], [b"U-", b"Ux", b"DC", b"CD", b"U-"], "kinds")
            equal([m[5] for m in messages], [b"", b"", b"there", b"here", b""], "destinations")
            equal([cbor.decode(m[6]) for m in messages[:4]],
                  ["grün", {"a": [True, None], "b": 1}, [1], ""], "objects")
            equal([m[6] for m in client.must("MSG.READ", base + 1, "COUNT", 5, "JSON")],
                  ['"grün"'.encode(), b'{"a":[true,null],"b":1}', b"[1]", b'""', b"1.5"], "as JSON")
            age = abs(time.time() - messages[0][3] / 1e9)
            assert age < 60, f"a timestamp {age} s away"
            equal(client.must("MSG.POST", "user", "-", "TEXT", "last"), base + 6, "the last")


def a_carried_clock_moves_the_clock(given):
    with new_server(given) as server, server.client() as client:
        equal(client.must("MSG.POST", "user", "-", "CLOCK", 1000, "TEXT", "x"), 1001, "its clock")
        refused(client.call("MSG.POST", "user", "-", "CLOCK", 1001 + 2 ** 32 + 1, "TEXT", "x"), "CLOCKJUMP")
        equal(client.must("CLOCK.GET"), 1001, "the clock")


def wrong_posts_are_refused(given):
    with new_server(given, "--message-max", "100") as server:
        for client in each_protocol(server):
            post = lambda *args: client.call("MSG.POST", *args)  # noqa: E731
            refused(client.call("MSG.POST", "user", "-"), "ERR", "wrong number of arguments")
            refused(post("nothing", "-", "TEXT", "x"), "ERR", "'nothing'", "a type")
            refused(post("object", "C", "TEXT", "x"), "ERR", "only the store posts")
            refused(post("O", "C", "TEXT", "x"), "ERR", "only the store posts")
            refused(post("database", "x", "TEXT", "x"), "ERR", "an event")
            refused(post("database", "-", "TEXT", "x"), "ERR", "an event")
            refused(post("user", "xx", "TEXT", "x"), "ERR", "an event")
            refused(post("user", "-", "XML", "x"), "ERR", "'XML'", "CBOR, JSON or TEXT")
            refused(post("user", "-", "TO", "x"), "ERR")
            refused(post("user", "-", "TEXT", "x", "y"), "ERR")
            refused(post("user", "-", "WITH", "x", "TEXT", "x"), "ERR", "'WITH'")
            refused(post("user", "-", "CLOCK", "x", "TEXT", "x"), "ERR", "CLOCK must be")
            refused(post("user", "-", "TO", "", "TEXT", "x"), "ERR")
            refused(post("user", "-", "TO", "h" * 256, "TEXT", "x"), "TOOBIG")
            refused(post("user", "-", "TO", "a\nb", "TEXT", "x"), "ERR")
            refused(post("user", "-", "CBOR", b"\x82\x01"), "BADCBOR", "2")
            refused(post("user", "-", "CBOR", b""), "BADCBOR")
            refused(post("user", "-", "JSON", "[1,]"), "BADJSON", "byte")
            refused(post("user", "-", "TEXT", b"a\xff"), "ERR")
            refused(post("user", "-", "TEXT", "x" * 100), "TOOBIG", "100")
            refused(post("user", "-", "CBOR", b"\x58\x63" + b"x" * 99), "TOOBIG", "100")
            refused(post("user", "-", "SEQ", "1", "TEXT", "x"), "NOTJOINED")
            equal(client.must("CLOCK.GET"), 0, "the clock: an error changes nothing")


def reads_take_what_they_are_asked(given):
    with new_server(given) as server, server.client() as client:
        client.pipeline([("MSG.POST", "user", "-", "TO", host, "TEXT", host) for host in "abcabc"])
        client.must("OBJ.PUT", "config/a", "1")
        client.must("OBJ.PUT", "other", "1")
        client.must("NODE.JOIN", "me")
        client.must("MSG.POST", "database", "C", "TEXT", "x")

        def clocks(*args):
            return [message[0] for message in client.must("MSG.READ", *args)]
        equal(clocks("-"), list(range(1, 11)), "all")
        equal(clocks("0", "COUNT", "3"), [1, 2, 3], "three")
        equal(clocks("4", "count", 2), [4, 5], "two from 4")
        equal(clocks("-", "COUNT", 0), [], "none")
        equal(clocks("11"), [], "beyond the end")
        equal(clocks("$"), [], "after the newest")
        equal(clocks("-", "FOR", "a"), [1, 4, 7, 8, 9, 10], "for a")
        equal(clocks("-", "TYPE", "O"), [7, 8, 9], "of type O")
        equal(clocks("-", "TYPE", "od", "COUNT", 9), [7, 8, 9, 10], "of types O and D")
        equal(clocks("-", "KEY", "config/"), [7], "with a key below config/")
        equal(clocks("-", "KEY", ""), [7, 8], "of any object")
        equal(clocks("-", "KEY", b"N\x11"), [9], "of any node")
        equal(clocks("-", "KEY", b"N\x11me", "TYPE", "O", "FOR", "x"), [9], "of one node")
        equal(clocks("-", "TYPE", "D", "KEY", "config/"), [], "of nothing")
        for args in (("x",), ("-", "COUNT"), ("-", "COUNT", "x"), ("-", "TYPE", "X"), ("-", "TYPE", ""),
                     ("-", "FOR", ""), ("-", "UPTO", "9"), ("-1",)):
            refused(client.call("MSG.READ", *args), "ERR")


def a_read_stops_at_sixteen_mebibytes(given):
    with new_server(given, "--sync", "no") as server, server.client() as client:
        big = "x" * (1 << 20)
        for _ in range(20):
            client.must("MSG.POST", "user", "-", "CBOR", b"\x5a\x00\x0f\x00\x00" + big[:0xf0000].encode())
        some = client.must("MSG.READ", "-")
        assert 16 <= len(some) <= 19, f"{len(some)} of 20 messages"
        equal(len(client.must("MSG.READ", some[-1][0] + 1)), 20 - len(some), "the others")
        for number in range(20):
            client.must("OBJ.PUT", f"k{number:02}", big[:0xf0000])
        some = client.must("OBJ.SCAN", "k")
        assert 16 <= len(some) <= 19, f"{len(some)} of 20 objects"


def trimmed_messages_are_gone_and_said_to_be(given):
    with new_server(given) as server, server.client() as client:
        client.pipeline([("MSG.POST", "user", "-", "TEXT", "x")] * 10)
        equal(client.must("MSG.TRIM", "BEFORE", 4), 3, "discarded")
        equal(client.must("MSG.TRIM", "before", 4), 0, "discarded again")
        refused(client.call("MSG.READ", 3), "COMPACTED", "oldest=4")
        refused(client.call("MSG.WATCH", 1), "COMPACTED", "oldest=4")
        equal(client.must("MSG.READ", "-")[0][0], 4, "the oldest")
        equal(client.must("MSG.TRIM", "OLDER", 3600000), 0, "older than an hour")
        equal(client.must("MSG.TRIM", "OLDER", 2 ** 64 - 1), 0, "older than time")
        info = pairs(client.must("MSG.INFO"))
        equal((info["oldest"], info["newest"], info["count"], info["watchers"]), (4, 10, 7, 0), "the box")
        wait_until(lambda: client.must("MSG.TRIM", "OLDER", 0) == 7 or
                   pairs(client.must("MSG.INFO"))["count"] == 0, "all to be discarded")
        equal(pairs(client.must("MSG.INFO"))["oldest"], 0, "the oldest of none")
        refused(client.call("MSG.READ", 10), "COMPACTED", "oldest=11")
        equal(client.must("MSG.READ", "-"), [], "nothing is left")
        refused(client.call("MSG.TRIM", "ALL", 1), "ERR", "BEFORE clock, or OLDER ms")
        refused(client.call("MSG.TRIM", "BEFORE", "x"), "ERR")


def a_blocked_read_gets_the_first_match(given):
    with new_server(given) as server, server.client() as reader, server.client() as poster:
        reader.send("MSG.READ", "-", "BLOCK", 0, "TYPE", "D", "JSON")
        reader.send("PING")
        wait_until(lambda: b"blocked_clients:1\r\n" in poster.must("INFO", "clients"), "the read to wait")
        poster.must("MSG.POST", "user", "-", "TEXT", "no")
        poster.must("MSG.POST", "database", "C", "TEXT", "yes")
        equal([m[6] for m in reader.reply()], [b'"yes"'], "what it got")
        equal(reader.reply(), b"PONG", "the command behind it")
        began = time.monotonic()
        equal(reader.must("MSG.READ", 9, "BLOCK", 50), [], "a read that waits in vain")
        assert time.monotonic() - began >= 0.045, "it did not wait"
        equal(len(reader.must("MSG.READ", 1, "BLOCK", 0)), 2, "a read that need not wait")
        refused(reader.call("MSG.READ", 1, "BLOCK", "x"), "ERR", "BLOCK must be")
        reader.send("MSG.READ", "$", "BLOCK", 0)
        wait_until(lambda: b"blocked_clients:1\r\n" in poster.must("INFO", "clients"), "the read to wait")
        reader.close()
        wait_until(lambda: b"connected_clients:1\r\n" in poster.must("INFO", "clients"), "its end to be seen")


def a_blocked_read_gets_what_is_there_however_long_it_looks(given):
    with new_server(given) as server, server.client() as client:
        for _ in range(50):
            client.pipeline([("MSG.POST", "user", "-", "TEXT", "")] * 2000)
        clock = client.must("MSG.POST", "database", "C", "TEXT", "x")
        found = client.must("MSG.READ", "-", "TYPE", "D", "BLOCK", "1")
        equal([message[0] for message in found], [clock], "what is found")


def nodes_join_beat_and_leave(given):
    with new_server(given) as server:
        for client in each_protocol(server):
            before = client.must("CLOCK.GET")
            joined = client.must("NODE.JOIN", "alpha", "ID", ID, "TTL", 60000, "META", "JSON", '{"cpu":4}')
            equal(joined, [ID.encode(), before + 1, 0], "the join")
            node = client.must("NODE.GET", "alpha", "JSON")
            equal(node[:5], [b"alpha", ID.encode(), before + 1, b"up", node[4]], "the node")
            equal(node[6:], [60000, b'{"cpu":4}'], "ttl and meta")
            equal(cbor.decode(client.must("NODE.GET", "alpha")[7]), {"cpu": 4}, "meta as CBOR")
            equal(client.must("NODE.GET", "nobody"), None, "a node that is not there")
            equal(client.must("NODE.BEAT"), before + 1, "a beat")
            equal(client.must("NODE.ACK", 1), before + 1, "an acknowledgement")
            refused(client.call("NODE.ACK", before + 9), "ERR")
            equal(client.must("NODE.STATE", "LEAVING"), before + 2, "a change of state")
            equal(client.must("NODE.LIST")[0][3], b"leaving", "the state in the list")
            equal(client.must("NODE.LIST", "STATE", "up"), [], "nodes that are up")
            equal(len(client.must("node.list", "state", "Leaving", "json")), 1, "nodes that leave")
            clock = client.must("MSG.POST", "user", "-", "TEXT", "x")
            equal(client.must("MSG.READ", clock)[0][4], b"alpha", "from")
            equal(client.must("NODE.LEAVE"), clock + 1, "leaving")
            equal(client.must("NODE.LIST"), [], "the list after that")
            for args in (("NODE.BEAT",), ("NODE.ACK", 1), ("NODE.STATE", "up"), ("NODE.LEAVE",),
                         ("RELAY.SEND", "ONE", "TEXT", "x"), ("OBJ.PUT", "k", "v", "OWNED")):
                refused(client.call(*args), "NOTJOINED")
            clock = client.must("MSG.POST", "user", "-", "TEXT", "x")
            equal(client.must("MSG.READ", clock)[0][4], b"", "from, after leaving")


def wrong_node_commands_are_refused(given):
    with new_server(given) as server, server.client() as client:
        for args in (("",), ("a\tb",), ("h", "ID"), ("h", "ID", "x"), ("h", "TTL", "1"), ("h", "TTL", "x"),
                     ("h", "META", "XML", "x"), ("h", "META"), ("h", "AS", "x")):
            refused(client.call("NODE.JOIN", *args), "ERR")
        refused(client.call("NODE.JOIN", "h" * 256), "TOOBIG")
        refused(client.call("NODE.JOIN", "h", "META", "JSON", "{"), "BADJSON")
        refused(client.call("NODE.STATE", "down"), "ERR", "up or leaving")
        refused(client.call("NODE.LIST", "STATE", "x"), "ERR")
        refused(client.call("NODE.LIST", "XML"), "ERR")
        refused(client.call("NODE.GET", "h", "XML"), "ERR")
        equal(client.must("NODE.LIST"), [], "the nodes")


def a_held_host_is_in_use_and_the_same_id_takes_over(given):
    with new_server(given) as server, server.client() as first, server.client() as second:
        first.must("NODE.JOIN", "host", "ID", ID)
        refused(second.call("NODE.JOIN", "host", "ID", OTHER_ID), "INUSE")
        refused(second.call("NODE.JOIN", "host"), "INUSE")
        joined = second.must("NODE.JOIN", "host", "ID", ID)
        for args in (("NODE.BEAT",), ("NODE.ACK", 1), ("MSG.POST", "user", "-", "TEXT", "x"),
                     ("OBJ.PUT", "k", "v"), ("RELAY.SEND", "ONE", "TEXT", "x")):
            refused(first.call(*args), "NOTJOINED", "taken over")
        equal(second.must("NODE.BEAT"), joined[1], "the new holder's beat")
        first.must("NODE.JOIN", "elsewhere")
        equal([node[0] for node in first.must("NODE.LIST")], [b"elsewhere", b"host"], "the nodes")
        second.close()
        wait_until(lambda: not isinstance(first.call("NODE.JOIN", "host", "ID", OTHER_ID), Error),
                   "the host of a closed connection to be free", 30)


def numbered_posts_are_posted_once(given):
    with new_server(given) as server, server.client() as client:
        client.must("NODE.JOIN", "host", "ID", ID)
        one = client.must("MSG.POST", "user", "-", "SEQ", 1, "TEXT", "1")
        equal(client.must("MSG.POST", "user", "-", "SEQ", 1, "TEXT", "1"), one, "the same again")
        two = client.must("MSG.POST", "user", "-", "SEQ", 2, "TEXT", "2")
        refused(client.call("MSG.POST", "user", "-", "SEQ", 4, "TEXT", "4"), "SEQGAP", "last=2")
        refused(client.call("MSG.POST", "user", "-", "SEQ", 1, "TEXT", "1"), "DUPLICATE", "last=2")
        with server.client() as other:
            equal(other.must("NODE.JOIN", "host", "ID", ID)[2], 2, "the last number after a takeover")
            equal(other.must("MSG.POST", "user", "-", "SEQ", 2, "TEXT", "2"), two, "the last one again")
            other.must("MSG.POST", "user", "-", "SEQ", 3, "TEXT", "3")
        equal([m[6] for m in client.must("MSG.READ", "-", "TYPE", "U", "JSON")],
              [b'"1"', b'"2"', b'"3"'], "the box")


def all_taken(replies):
    assert not any(isinstance(reply, Error) for reply in replies), replies


def a_silent_node_goes_down_and_what_it_owns_with_it(given):
    with new_server(given) as server, server.client() as node, server.client() as other:
        all_taken(node.pipeline([("NODE.JOIN", "host", "TTL", 300), ("OBJ.PUT", "owned", "1", "OWNED"),
                                 ("OBJ.PUT", "kept", "1")]))
        wait_until(lambda: other.must("NODE.GET", "host")[3] == b"down", "the node to go down")
        equal(other.must("EXISTS", "owned", "kept"), 1, "objects left")
        refused(node.call("NODE.BEAT"), "NOTJOINED")
        node_stays_up(server, other, 300, ("NODE.GET", "host"))
        all_taken(node.pipeline([("NODE.JOIN", "host", "TTL", 300), ("OBJ.PUT", "owned", "2", "OWNED"),
                                 ("NODE.LEAVE",)]))
        equal(other.must("EXISTS", "owned"), 0, "what it owned when it left")


def node_stays_up(server, other, ttl, beat, waiting=None):
    """A new one, for several ttls, as long as it beats. A try in which this test itself stood still,
    and sent nothing for long, counts for nothing."""
    for _ in range(20):
        with server.client() as node:
            last = time.monotonic()
            end = last + max(1.5, 3 * ttl / 1000)
            node.must("NODE.JOIN", "host", "TTL", ttl)
            if waiting:
                node.send(*waiting)
            in_time = True
            while in_time and last < end:
                node.send(*beat)
                state = other.must("NODE.GET", "host")[3]
                now = time.monotonic()
                in_time = now - last < ttl / 2000
                last = now
                if in_time:
                    equal(state, b"up", f"a node that sends {beat} behind {waiting}")
                    time.sleep(0.05)
        wait_until(lambda: other.must("NODE.GET", "host")[3] == b"down", "it to go down")
        if in_time:
            return
    raise AssertionError(f"this test never came to beat every {ttl / 2} ms")


def a_node_beats_while_it_waits_for_an_answer(given):
    with new_server(given) as server, server.client() as other:
        timestamp = other.must("TXN.BEGIN", "WILL", 1, "k", "TTL", 60000)[0]
        for waiting in (("MSG.READ", 1 << 40, "BLOCK", 0), ("TXN.BEGIN", "EAGER", 1, "k")):
            node_stays_up(server, other, 500, ("NODE.BEAT",), waiting)
        other.must("TXN.ABORT", timestamp)


def objects_are_put_read_and_deleted(given):
    with new_server(given) as server:
        for client in each_protocol(server):
            base = client.must("CLOCK.GET")
            key = b"k\x00\xff" + str(base).encode()
            equal(client.must("OBJ.GET", key), None, "an absent object")
            equal(client.must("OBJ.PUT", key, b"\x00v"), base + 1, "a put")
            equal(client.must("OBJ.GET", key), [b"\x00v", base + 1, base + 1], "the object")
            refused(client.call("OBJ.PUT", key, "x", "IF", base), "CONFLICT", f"modified={base + 1}")
            refused(client.call("OBJ.PUT", key, "x", "IF", 0), "CONFLICT", f"modified={base + 1}")
            refused(client.call("OBJ.PUT", key, "x", "NX"), "CONFLICT", f"modified={base + 1}")
            refused(client.call("OBJ.PUT", "absent", "x", "XX"), "CONFLICT", "modified=0")
            equal(client.must("OBJ.PUT", key, "", "IF", base + 1, "XX"), base + 2, "a put on condition")
            equal(client.must("OBJ.GET", key), [b"", base + 1, base + 2], "the object after it")
            refused(client.call("OBJ.DEL", key, "IF", base + 1), "CONFLICT", f"modified={base + 2}")
            equal(client.must("OBJ.DEL", key, "IF", base + 2), base + 3, "a deletion")
            equal(client.must("OBJ.DEL", key), 0, "a deletion of nothing")
            equal(client.must("OBJ.PUT", key, "x", "NX"), base + 4, "a put where there was none")
            client.must("OBJ.DEL", key)


def wrong_object_commands_are_refused(given):
    with new_server(given, "--object-max", "100") as server, server.client() as client:
        put = lambda *args: client.call("OBJ.PUT", *args)  # noqa: E731
        refused(put("", "v"), "ERR")
        refused(put("k" * 481, "v"), "TOOBIG")
        refused(put("k", "v" * 101), "TOOBIG", "100")
        refused(put("k", "v", "NX", "XX"), "ERR", "exclude")
        refused(put("k", "v", "IF"), "ERR")
        refused(put("k", "v", "IF", "x"), "ERR")
        refused(put("k", "v", "EX", "9"), "ERR", "'EX'")
        refused(put("k", "v", "OWNED"), "NOTJOINED")
        refused(client.call("OBJ.GET", ""), "ERR")
        refused(client.call("OBJ.DEL", ""), "ERR")
        refused(client.call("OBJ.DEL", "k", "IF"), "ERR")
        refused(client.call("OBJ.DEL", "k", "NX", "1"), "ERR")
        refused(client.call("OBJ.SCAN", "k", "COUNT"), "ERR")
        refused(client.call("OBJ.SCAN", "k", "FROM", "x"), "ERR")
        equal(client.must("CLOCK.GET"), 0, "the clock: an error changes nothing")


def objects_are_scanned_in_key_order(given):
    with new_server(given) as server, server.client() as client:
        for key in ("b/2", "a", "b/1", "c", b"b/\xff"):
            client.must("OBJ.PUT", key, b"v" + (key if isinstance(key, bytes) else key.encode()))

        def keys(*args):
            return [item[0] for item in client.must("OBJ.SCAN", *args)]
        equal(keys(""), [b"a", b"b/1", b"b/2", b"b/\xff", b"c"], "all")
        equal(keys("b/"), [b"b/1", b"b/2", b"b/\xff"], "below b/")
        equal(keys("b/", "AFTER", "b/1"), [b"b/2", b"b/\xff"], "behind b/1")
        equal(keys("b/", "AFTER", "b/1", "COUNT", 1), [b"b/2"], "the one behind b/1")
        equal(keys("", "COUNT", 0), [], "none")
        equal(client.must("OBJ.SCAN", "a"), [[b"a", b"va", 2, 2]], "an item")


def transactions_do_all_or_nothing(given):
    with new_server(given) as server, server.client() as client:
        equal(client.must("OBJ.TXN", "IF", 1, "a", 0, "THEN", 2, "PUT", "a", "1", "PUT", "b", "2"),
              [1, 2], "two puts")
        refused(client.call("OBJ.TXN", "IF", 2, "a", 1, "b", 1, "THEN", 1, "PUT", "a", "9"),
                "CONFLICT", "b modified=2")
        equal(client.must("OBJ.TXN", "IF", 2, "a", 1, "b", 2, "THEN", 3, "DEL", "a", "DEL", "x",
                          "PUT", "b", "3"), [3, 0, 4], "a mixed one")
        equal(client.must("OBJ.TXN", "IF", 0, "THEN", 0), [], "an empty one")
        equal(client.must("OBJ.SCAN", ""), [[b"b", b"3", 2, 4]], "what is left")
        for args in (("IF", 1, "a"), ("IF", 1, "a", 0, "THEN", 1), ("THEN", 1, "DEL", "a"),
                     ("IF", 0, "THEN", 1, "ADD", "a"), ("IF", 0, "THEN", 1, "PUT", "a"),
                     ("IF", 0, "THEN", 0, "DEL", "a"), ("IF", 1, "a", "x", "THEN", 0),
                     ("IF", 9, "a", 0, "THEN", 0), ("IF", 0, "THEN", 1, "DEL", "")):
            refused(client.call("OBJ.TXN", *args), "ERR")
        refused(client.call("OBJ.TXN", "IF", 999999999, "THEN", 0), "TOOBIG")
        equal(client.must("CLOCK.GET"), 4, "the clock: an error changes nothing")


def the_words_of_redis_act_on_objects(given):
    with new_server(given) as server:
        for client in each_protocol(server):
            equal(client.must("GET", "k"), None, "an absent one")
            equal(client.must("SET", "k", "1"), b"OK", "SET")
            equal(client.must("GET", "k"), b"1", "GET")
            equal(client.must("SET", "k", "2", "NX"), None, "SET NX where it is there")
            equal(client.must("SET", "x", "2", "XX"), None, "SET XX where it is not")
            equal(client.must("SET", "k", "2", "XX"), b"OK", "SET XX")
            equal(client.must("SET", "k", "3", "GET"), b"2", "SET GET")
            equal(client.must("SET", "k", "4", "NX", "GET"), b"3", "SET NX GET where it is there")
            equal(client.must("SET", "y", "4", "GET"), None, "SET GET where it was not")
            equal(client.must("SET", "z", "4", "XX", "GET"), None, "SET XX GET where it is not")
            equal(client.must("GET", "k"), b"3", "GET")
            equal(client.must("EXISTS", "k", "y", "z", "k"), 3, "EXISTS")
            equal(client.must("DEL", "k", "y", "z"), 2, "DEL")
            refused(client.call("SET", "k", "v", "EX", 10), "ERR", "expire")
            refused(client.call("SET", "k", "v", "NX", "XX"), "ERR")


def set_get_loses_no_value_to_others(given):
    """Many connections swap a value; each value that was put is seen by exactly one other."""
    with new_server(given, "--sync", "no") as server:
        clients = [server.client() for _ in range(8)]
        seen = []
        for round_number in range(50):
            for number, client in enumerate(clients):
                client.send("SET", "k", f"{round_number}.{number}", "GET")
            seen += [client.reply() for client in clients]
        put = {f"{r}.{n}".encode() for r in range(50) for n in range(8)}
        seen.append(clients[0].must("GET", "k"))
        equal(set(seen), put | {None}, "the values seen")
        equal(len(seen), len(put) + 1, "how many were seen")


def the_relay_routes_by_host_order(given):
    with new_server(given) as server:
        clients = {host: server.client(hello=3) for host in ("b", "c", "d")}
        clients["a"] = server.client()
        for host, client in clients.items():
            client.must("NODE.JOIN", host)
        clock = clients["b"].must("CLOCK.GET")
        send = lambda host, *args: clients[host].call("RELAY.SEND", *args)  # noqa: E731

        def got(host):
            frame = clients[host].read() if host == "a" else clients[host].push()
            return frame[:3] + [cbor.decode(frame[3])]
        equal(send("b", "ONE", "TEXT", "x"), 1, "ONE")
        equal(got("a"), [b"relay", b"b", clock, "x"], "what a got, in RESP2")
        equal(send("b", "second", "CLOCK", 77, "JSON", "[1]"), 1, "SECOND")
        equal(got("c"), [b"relay", b"b", 77, [1]], "what c got")
        equal(send("b", "NTH", 3, "TEXT", "y"), 1, "NTH 3")
        equal(got("d")[3], "y", "what d got")
        equal(send("b", "NTH", 4, "TEXT", "y"), 0, "NTH 4")
        equal(send("b", "TO", "d", "TEXT", "z"), 1, "TO d")
        equal(got("d")[3], "z", "what d got")
        equal(send("b", "TO", "b", "TEXT", "z"), 0, "TO the sender")
        equal(send("b", "TO", "nobody", "TEXT", "z"), 0, "TO nobody")
        equal(send("a", "BROADCAST", "TEXT", "all"), 3, "BROADCAST")
        for host in "bcd":
            equal(got(host)[1:], [b"a", clock, "all"], f"what {host} got")
        clients["d"].close()
        wait_until(lambda: send("a", "BROADCAST", "TEXT", "") == 2, "d to be gone")
        for args in (("NTH", 0, "TEXT", ""), ("NTH", "x", "TEXT", ""), ("ALL", "TEXT", ""),
                     ("ONE", "XML", ""), ("ONE", "TEXT", "", "x"), ("TO", "b", "CLOCK", "x", "TEXT", "")):
            refused(send("a", *args), "ERR")
        refused(send("a", "ONE", "CBOR", b"\xff"), "BADCBOR")
        refused(send("a", "ONE", "CLOCK", 2 ** 33, "TEXT", "x"), "CLOCKJUMP")
        with server.client() as stranger:
            refused(stranger.call("RELAY.SEND", "ONE", "TEXT", "x"), "NOTJOINED")
        equal(clients["b"].must("CLOCK.GET"), clock, "the clock: nothing is stored")


def connections_are_named_listed_and_closed(given):
    with new_server(given) as server, server.client() as client, server.client() as other:
        equal(client.must("PING"), b"PONG", "PING")
        equal(client.must("PING", "x"), b"x", "PING x")
        equal(client.must("ECHO", "x"), b"x", "ECHO x")
        equal(client.must("SELECT", 0), b"OK", "SELECT 0")
        refused(client.call("SELECT", 1), "ERR", "DB index is out of range")
        number = client.must("CLIENT", "ID")
        equal(client.must("CLIENT", "GETNAME"), None, "no name")
        equal(client.must("CLIENT", "SETNAME", "me"), b"OK", "SETNAME")
        equal(client.must("CLIENT", "GETNAME"), b"me", "GETNAME")
        refused(client.call("CLIENT", "SETNAME", "a b"), "ERR")
        equal(client.must("CLIENT", "SETINFO", "LIB-NAME", "lib"), b"OK", "SETINFO")
        refused(client.call("CLIENT", "SETINFO", "LIB", "lib"), "ERR")
        lines = client.must("CLIENT", "LIST").decode().splitlines()
        equal(len(lines), 2, "clients")
        mine = dict(field.split("=", 1) for field in client.must("CLIENT", "INFO").decode().split())
        equal((mine["id"], mine["name"], mine["lib-name"], mine["cmd"]),
              (str(number), "me", "lib", "client"), "this one")
        client.must("NODE.JOIN", "a b=c")
        fields = [field.split("=") for field in client.must("CLIENT", "INFO").decode().split()]
        assert ["node", "a\\x20b\\x3dc"] in fields, fields
        equal(client.must("CLIENT", "KILL", "ID", other.must("CLIENT", "ID")), 1, "KILL ID")
        try:
            raise AssertionError(f"a killed client got {other.call('PING')}")
        except Closed:
            pass
        refused(client.call("CLIENT", "KILL", "127.0.0.1:1"), "ERR", "No such client")
        equal(client.must("CLIENT", "KILL", "ADDR", "127.0.0.1:1"), 0, "KILL ADDR")
        refused(client.call("CLIENT", "DANCE"), "ERR")
        equal(client.must("CLIENT", "KILL", mine["addr"]), b"OK", "KILL of itself")
        try:
            raise AssertionError(f"a killed client got {client.call('PING')}")
        except Closed:
            pass


def hello_and_reset_change_the_protocol(given):
    with new_server(given) as server, server.client() as client:
        hello = client.must("HELLO", 3, "SETNAME", "me")
        assert isinstance(hello, dict), hello
        hello = pairs(hello)
        equal((hello["server"], hello["proto"], hello["mode"], hello["role"], hello["modules"]),
              (b"lockstep", 3, b"standalone", b"master", []), "HELLO 3")
        equal(client.must("CLIENT", "GETNAME"), b"me", "SETNAME")
        refused(client.call("HELLO", 4), "NOPROTO")
        refused(client.call("HELLO", "x"), "ERR")
        refused(client.call("HELLO", 3, "AUTH", "x"), "ERR")
        client.must("NODE.JOIN", "host")
        client.must("MSG.WATCH", "$")
        equal(client.must("RESET"), b"RESET", "RESET")
        equal(client.must("CLIENT", "GETNAME"), None, "the name after RESET")
        refused(client.call("NODE.BEAT"), "NOTJOINED")
        assert isinstance(client.must("HELLO"), list), "HELLO in RESP2"
        client.must("MSG.POST", "user", "-", "TEXT", "x")
        equal(client.must("QUIT"), b"OK", "QUIT")
        try:
            raise AssertionError(f"a client that quit got {client.reply()}")
        except Closed:
            pass


def a_password_is_asked_for(given):
    with new_server(given, "--password", "secret") as server, server.client() as client:
        refused(client.call("PING"), "NOAUTH")
        refused(client.call("MSG.POST", "user", "-", "TEXT", "x"), "NOAUTH")
        refused(client.call("HELLO", 3), "NOAUTH")
        with server.client() as stranger:
            refused(stranger.call("MSG.POST", "user", "-", "TEXT", "x" * 20000), "TOOBIG", "16384")
        refused(client.call("AUTH", "wrong"), "WRONGPASS")
        refused(client.call("AUTH", "secre"), "WRONGPASS")
        refused(client.call("AUTH", ""), "WRONGPASS")
        refused(client.call("AUTH", "somebody", "secret"), "WRONGPASS")
        equal(client.must("AUTH", "secret"), b"OK", "AUTH")
        equal(client.must("PING"), b"PONG", "PING")
        equal(client.must("RESET"), b"RESET", "RESET")
        refused(client.call("PING"), "NOAUTH")
        equal(client.must("AUTH", "default", "secret"), b"OK", "AUTH with a user")
        client.must("RESET")
        refused(client.call("HELLO", 3, "AUTH", "default", "x"), "WRONGPASS")
        client.must("HELLO", 3, "AUTH", "default", "secret")
        equal(client.must("PING"), b"PONG", "PING")
        client.must("CONFIG", "SET", "password", "")
        with server.client() as other:
            equal(other.must("PING"), b"PONG", "PING without a password")
            refused(other.call("AUTH", "x"), "ERR", "without any password configured")


def commands_describe_themselves(given):
    with new_server(given) as server:
        for client in each_protocol(server):
            commands = client.must("COMMAND")
            equal(len(commands), client.must("COMMAND", "COUNT"), "COMMAND COUNT")
            names = client.must("COMMAND", "LIST")
            equal([command[0] for command in commands], names, "COMMAND LIST")
            docs = pairs(client.must("COMMAND", "DOCS"))
            equal(sorted(docs), sorted(name.decode() for name in names), "COMMAND DOCS")
            one = pairs(pairs(client.must("COMMAND", "DOCS", "msg.post", "nothing"))["msg.post"])
            equal(one["group"], b"box", "the group of MSG.POST")
            info = client.must("COMMAND", "INFO", "GET", "nothing")
            equal(info[0][:6], [b"get", 2, [b"readonly", b"fast"], 1, 1, 1], "COMMAND INFO get")
            equal(info[1], None, "COMMAND INFO nothing")
            refused(client.call("COMMAND", "x"), "ERR")
            refused(client.call("NOTHING", "a", "b"), "ERR", "unknown command 'NOTHING'", "'a' 'b'")
            for name in names:
                refused(client.call(name, *["x"] * 99), "ERR") if name not in (
                    b"quit", b"del", b"exists", b"info", b"txn.get") else None
            seconds, micros = client.must("TIME")
            assert abs(time.time() - int(seconds)) < 60 and 0 <= int(micros) < 1000000, "TIME"
            equal(client.must("INFO", "box").removeprefix(b"txt:").split(b"\r\n")[0], b"# Box", "INFO box")
            for section in ("Server", "Clients", "Memory", "Store", "Sequencer", "Box", "Nodes", "Transactions",
                            "Shards", "Stats"):
                assert f"# {section}\r\n".encode() in client.must("INFO"), section


def no_command_looks_at_more_words_than_the_loop_has_time_for(given):
    """At its limit each is answered, beyond it refused; so are options that cannot all be meant."""
    keys = [f"k{number}" for number in range(100001)]
    with new_server(given, "--sync", "no") as server, server.client() as client:
        for limit, *words in ((100000, "DEL"), (10000, "EXISTS"), (1000, "COMMAND", "DOCS"),
                              (1000, "COMMAND", "INFO"), (1000, "CONFIG", "GET"), (1000, "INFO"),
                              (4096, "TXN.GET")):
            assert not isinstance(client.call(*words, *keys[:limit]), Error), f"{words} at its limit"
            refused(client.call(*words, *keys[:limit + 1]), "TOOBIG", f"at most {limit}")
        quota = ["quota", "0"]
        equal(client.must("CONFIG", "SET", *quota * 1000), b"OK", "CONFIG SET at its limit")
        refused(client.call("CONFIG", "SET", *quota * 1001), "TOOBIG", "at most 1000")
        refused(client.call("TXN.RUN", 4097, *["GET", "k"] * 4097), "TOOBIG", "at most 4096")
        refused(client.call("TXN.BEGIN", "MAY", 4097, *keys[:4097]), "TOOBIG", "at most 4096")
        timestamp, _ = client.must("TXN.BEGIN", "MAY", 1, "k")
        refused(client.call("TXN.COMMIT", timestamp, 4097, *["k", "v"] * 4097), "TOOBIG", "at most 4096")
        refused(client.call("TXN.COMMIT", timestamp, 0, "DEL", 4097, *keys[:4097]), "TOOBIG", "4096")
        equal(client.must("TXN.ABORT", timestamp), b"OK", "the transaction that could not commit so")
        refused(client.call("SHARD.CREATE", "s", "LEARNER", "l", "WORKERS", 1025, *keys[:1025]),
                "TOOBIG", "at most 1024 workers")
        for words, more in ((("SET", "k", "v"), ("NX", "GET")), (("OBJ.PUT", "k", "v"), ("XX",)),
                            (("OBJ.SCAN", ""), ("COUNT", "1")), (("MSG.READ", "-"), ("FOR", "a")),
                            (("MSG.WATCH", "-"), ("FOR", "a")), (("NODE.JOIN", "a"), ("TTL", "1000")),
                            (("MSG.POST", "user", "-", "TEXT", "x"), ("TO", "a")),
                            (("RELAY.SEND", "ONE", "TEXT", "x"), ("CLOCK", "1")),
                            (("HELLO", "2"), ("SETNAME", "a")), (("CLIENT", "KILL"), ("ID", "1"))):
            refused(client.call(*words, *more * 10), "ERR", f"wrong number of arguments for '{words[0].lower()}'")
        equal(client.must("CLOCK.GET"), timestamp, "the clock: an error changes nothing")


def a_pipeline_is_answered_in_order(given):
    """Writes, reads, errors and barriers mixed: each sees what was before it on the connection."""
    with new_server(given) as server, server.client() as client:
        commands, expected, clock = [], [], 0
        for number in range(300):
            clock += 1
            commands += [("MSG.POST", "user", "-", "TEXT", "x"), ("CLOCK.GET",), ("MSG.POST", "user"),
                         ("SET", "k", str(number)), ("GET", "k"), ("ECHO", number),
                         ("MSG.POST", "user", "-", "CBOR", b"\xff"), ("CLOCK.NEXT",),
                         ("MSG.TRIM", "BEFORE", 0), ("NOTHING",)]
            expected += [clock, clock, "ERR", b"OK", str(number).encode(), str(number).encode(),
                         "BADCBOR", clock + 2, 0, "ERR"]
            clock += 2
        replies = client.pipeline(commands)
        replies = [reply.word if isinstance(reply, Error) else reply for reply in replies]
        for number, (reply, right) in enumerate(zip(replies, expected)):
            equal(reply, right, f"reply {number}, to {commands[number]}")


def a_command_may_come_byte_by_byte(given):
    with new_server(given) as server, server.client() as client:
        data = b"*5\r\n$8\r\nMSG.POST\r\n$4\r\nuser\r\n$1\r\n-\r\n$4\r\nTEXT\r\n$3\r\nabc\r\nPING\r\n"
        for byte in data:
            client.send_raw(bytes([byte]))
        equal(client.reply(), 1, "the post")
        equal(client.reply(), b"PONG", "an inline command")
        client.send_raw(b"  \r\n\r\n*0\r\nECHO \"a\\x41 b\"\n")
        equal(client.reply(), b"aA b", "a quoted word")
        client.send_raw(b"*1\r\n$-5\r\n")
        refused(client.reply(), "ERR", "Protocol error")
        try:
            raise AssertionError(f"a client that sent garbage got {client.reply()}")
        except Closed:
            pass


def a_client_that_ends_its_side_gets_its_answers(given):
    with new_server(given) as server, server.client() as client:
        client.send_all([("MSG.POST", "user", "-", "TEXT", "x")] * 100 + [("CLOCK.GET",)])
        client.socket.shutdown(1)
        equal([client.reply() for _ in range(101)], list(range(1, 101)) + [100], "the replies")


def a_read_sees_what_was_answered_elsewhere(given):
    with new_server(given, "--sync", "no") as server, server.client() as one, server.client() as two:
        for number in range(2000):
            one.must("SET", "k", number)
            equal(two.must("GET", "k"), str(number).encode(), "GET on the other connection")


if __name__ == "__main__":
    report.run([
        the_clock_gives_witnesses_and_tells,
        a_clock_beyond_63_bits_is_text_or_a_big_number,
        posts_are_read_back,
        a_carried_clock_moves_the_clock,
        wrong_posts_are_refused,
        reads_take_what_they_are_asked,
        a_read_stops_at_sixteen_mebibytes,
        trimmed_messages_are_gone_and_said_to_be,
        a_blocked_read_gets_the_first_match,
        a_blocked_read_gets_what_is_there_however_long_it_looks,
        nodes_join_beat_and_leave,
        wrong_node_commands_are_refused,
        a_held_host_is_in_use_and_the_same_id_takes_over,
        numbered_posts_are_posted_once,
        a_silent_node_goes_down_and_what_it_owns_with_it,
        a_node_beats_while_it_waits_for_an_answer,
        objects_are_put_read_and_deleted,
        wrong_object_commands_are_refused,
        objects_are_scanned_in_key_order,
        transactions_do_all_or_nothing,
        the_words_of_redis_act_on_objects,
        set_get_loses_no_value_to_others,
        the_relay_routes_by_host_order,
        connections_are_named_listed_and_closed,
        hello_and_reset_change_the_protocol,
        a_password_is_asked_for,
        commands_describe_themselves,
        no_command_looks_at_more_words_than_the_loop_has_time_for,
        a_pipeline_is_answered_in_order,
        a_command_may_come_byte_by_byte,
        a_client_that_ends_its_side_gets_its_answers,
        a_read_sees_what_was_answered_elsewhere,
    ], report.arguments(__doc__))
