/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and the manual's list made from it. Grouped as the manual groups them. */
#include <string.h>

#include "server/handlers.h"

#define W (COMMAND_WRITE | COMMAND_QUEUED)
#define B COMMAND_WRITE
#define R COMMAND_READ
#define F COMMAND_FAST

/* name, group, arguments at least and at most, flags, keys (first, last, step), arguments, summary,
 * reply, handler */
const struct command commands[] = {
    {"CLOCK.GET", "clock", 1, 1, R | F, 0, 0, 0, "", "Tells the coordinator's clock.",
     "integer: the clock", command_clock_get},
    {"CLOCK.NEXT", "clock", 1, 2, W | F, 0, 0, 0, "[count]",
     "Gives out fresh, consecutive clock values, one or as many as asked for, at most 2^20. No "
     "value is ever given out twice.",
     "integer: the first of them", command_clock_next},
    {"CLOCK.WITNESS", "clock", 2, 2, W | F, 0, 0, 0, "clock",
     "Moves the coordinator's clock to max(its own, clock) + 1. A clock more than 2^32 ahead is "
     "refused with CLOCKJUMP.",
     "integer: the coordinator's clock after that", command_clock_witness},

    {"MSG.POST", "box", 5, 11, W | F, 0, 0, 0,
     "type event [TO host] [CLOCK clock] [SEQ n] CBOR bytes|JSON text|TEXT utf-8",
     "Posts a message. The type is database (D) or collection (C), with the event created (C), "
     "updated (U) or deleted (D); or user (U), with any one byte as the event, or - for none. The "
     "message's clock will be greater than CLOCK, the poster's own. SEQ, from a joined node, posts "
     "exactly once: n is the node's last number plus one; the last number again gives its clock "
     "again and posts nothing.",
     "integer: the message's clock, once it is durable; SEQGAP or DUPLICATE with last=N",
     command_msg_post},
    {"MSG.READ", "box", 2, 13, R, 0, 0, 0,
     "from|-|$ [COUNT n] [TYPE letters] [FOR host] [KEY prefix] [BLOCK ms] [JSON]",
     "Reads messages from a clock on, in clock order; - is the oldest kept, $ what comes after the "
     "newest. At most COUNT, 100 where it is not given, and at most about 16 MiB. FOR leaves out "
     "what is addressed to another host, KEY keeps only changes of objects whose key has the "
     "prefix. BLOCK waits so many milliseconds for the first one, 0 for ever.",
     "array of messages, each an array of 7: clock, type, event or -, timestamp in ns, from, to, "
     "object; empty where there is none; COMPACTED oldest=N where something from there on was "
     "discarded",
     command_msg_read},
    {"MSG.WATCH", "box", 2, 9, R, 0, 0, 0, "from|-|$ [TYPE letters] [FOR host] [KEY prefix] [JSON]",
     "Delivers every message from a clock on, in order and without a gap, as the client takes "
     "them. In RESP2 the connection then takes only MSG.UNWATCH, OBJ.UNWATCH, PING, RESET and "
     "QUIT.",
     "integer: the clock from which it delivers; then pushes: message and the array of 7; or lost, "
     "the clock that it needed next and the oldest kept, which ends the watch",
     command_msg_watch},
    {"MSG.UNWATCH", "box", 1, 1, F | COMMAND_WATCHING, 0, 0, 0, "",
     "Ends this connection's watch of the box.", "OK", command_msg_unwatch},
    {"MSG.INFO", "box", 1, 1, R | F, 0, 0, 0, "", "Describes the box.",
     "map: oldest, newest, count, bytes, watchers; with retention-hold also held-by and held-from: "
     "the node that is up and has acknowledged least, and the first clock it still needs",
     command_msg_info},
    {"MSG.TRIM", "box", 3, 3, B, 0, 0, 0, "BEFORE clock|OLDER ms",
     "Discards the messages below a clock, or older than so many milliseconds: always a prefix in "
     "clock order.",
     "integer: how many were discarded", command_msg_trim},

    {"NODE.JOIN", "nodes", 2, 9, B | F, 0, 0, 0, "host [ID uuid] [TTL ms] [META payload]",
     "Begins a life of a node and binds this connection to it: what it posts carries the host as "
     "from, and every command of it is a beat. The same host with the same id takes over. TTL, "
     "from 100 to 86400000, is how long the node may be silent. META is CBOR bytes, JSON text or "
     "TEXT utf-8.",
     "array of 3: id, the join's clock, the last SEQ; INUSE where another live node holds the host",
     command_node_join},
    {"NODE.BEAT", "nodes", 1, 1, R | F, 0, 0, 0, "", "Shows life, and does nothing else.",
     "integer: the coordinator's clock; NOTJOINED where the node's life is over",
     command_node_beat},
    {"NODE.ACK", "nodes", 2, 2, W | F, 0, 0, 0, "clock",
     "Tells how far the node has processed the box; a smaller clock than before changes nothing.",
     "integer: the coordinator's clock", command_node_ack},
    {"NODE.STATE", "nodes", 2, 2, W | F, 0, 0, 0, "up|leaving", "Changes the node's state.",
     "integer: the change's clock", command_node_state},
    {"NODE.LEAVE", "nodes", 1, 1, B, 0, 0, 0, "",
     "Ends the node's life: it is taken off the list, and the objects it owns are deleted.",
     "integer: the change's clock", command_node_leave},
    {"NODE.GET", "nodes", 2, 3, R | F, 0, 0, 0, "host [JSON]", "Describes a node.",
     "array of 8: host, id, joined, state, clock, timestamp in ns, ttl in ms, meta or null; null "
     "where there is no such node",
     command_node_get},
    {"NODE.LIST", "nodes", 1, 4, R, 0, 0, 0, "[STATE up|leaving|down] [JSON]",
     "Lists the nodes in byte order of their hosts.", "array of what NODE.GET answers",
     command_node_list},

    {"OBJ.PUT", "objects", 3, 8, W | F, 1, 1, 1, "key value [IF clock] [NX] [XX] [OWNED]",
     "Puts an object. IF: only if its last change has this clock, 0 for absent. NX: only if it is "
     "absent, XX: only if it is there. OWNED: it is deleted when this connection's node goes down "
     "or leaves.",
     "integer: the change's clock; CONFLICT modified=N", command_obj_put},
    {"OBJ.GET", "objects", 2, 2, R | F, 1, 1, 1, "key", "Reads an object.",
     "array of 3: value, created, modified; null where it is absent", command_obj_get},
    {"OBJ.DEL", "objects", 2, 4, W | F, 1, 1, 1, "key [IF clock]", "Deletes an object.",
     "integer: the change's clock, 0 where it was absent; CONFLICT modified=N", command_obj_del},
    {"OBJ.SCAN", "objects", 2, 6, R, 0, 0, 0, "prefix [AFTER key] [COUNT n]",
     "Reads the objects whose keys have the prefix, in byte order of the keys, from above AFTER. "
     "At most COUNT, 100 where it is not given, and at most about 16 MiB.",
     "array of arrays of 4: key, value, created, modified", command_obj_scan},
    {"OBJ.WATCH", "objects", 2, 2, R, 0, 0, 0, "prefix",
     "Delivers the objects whose keys have the prefix as they are at one clock, and then every "
     "change after it, in order. One that falls behind what is kept gets resync and a new "
     "snapshot, never a gap: what is not in that snapshot is gone.",
     "integer: the snapshot's clock S; then pushes: object, key, value, created, modified for each "
     "in the snapshot; synced and S; object again, or deleted, key and clock, for every change; "
     "resync and S before another snapshot",
     command_obj_watch},
    {"OBJ.UNWATCH", "objects", 1, 1, F | COMMAND_WATCHING, 0, 0, 0, "",
     "Ends this connection's watch of objects.", "OK", command_obj_unwatch},
    {"OBJ.TXN", "objects", 5, -1, W, 0, 0, 0, "IF n [key clock].. THEN n [PUT key value|DEL key]..",
     "Checks the clocks of n objects, 0 for absent, and changes n objects: all or nothing.",
     "array of clocks, one a change, 0 for the deletion of what was absent; CONFLICT key "
     "modified=N",
     command_obj_txn},
    {"SET", "objects", 3, 7, W | F, 1, 1, 1, "key value [NX|XX] [GET]",
     "Puts an object, as in Redis; there is no expiry by time.",
     "OK; null where NX or XX is not met; with GET the value before, or null", command_set},
    {"GET", "objects", 2, 2, R | F, 1, 1, 1, "key", "Reads the value of an object.",
     "the value; null where it is absent", command_get},
    {"DEL", "objects", 2, -1, W, 1, -1, 1, "key ..", "Deletes objects, all in one step.",
     "integer: how many there were", command_del},
    {"EXISTS", "objects", 2, -1, R, 1, -1, 1, "key ..", "Counts the objects that are there.",
     "integer", command_exists},

    {"RELAY.SEND", "relay", 4, 7, F, 0, 0, 0,
     "ONE|SECOND|NTH n|TO host|BROADCAST [CLOCK clock] payload",
     "Hands a payload to connected, joined nodes other than this one, taken in byte order of their "
     "hosts: the first, the second, the n-th from 1, the named one, or all. Nothing is stored. The "
     "payload is CBOR bytes, JSON text or TEXT utf-8.",
     "integer: how many it was handed to. Each gets the push relay, from, clock, payload in CBOR",
     command_relay_send},

    {"TXN.RUN", "transactions", 4, -1, W | F, 0, 0, 0,
     "n [GET key|PUT key value|DEL key|INCRBY key i|CHECK key value] ..",
     "A whole transaction in one round trip: n operations in order, each seeing those before it. "
     "All of its writes are done, or none.",
     "array of n: the value or null of GET, the sum of INCRBY, else OK; CONFLICT where a CHECK "
     "does not hold, naming the key",
     command_txn_run},
    {"TXN.GET", "transactions", 2, -1, R | COMMAND_QUEUED, 0, 0, 0, "[AT timestamp] key ..",
     "Reads keys as of now, or as of a timestamp that the history still has.",
     "array of values, null where absent; TOOOLD", command_txn_get},
    {"TXN.BEGIN", "transactions", 1, -1, W | F, 0, 0, 0,
     "[EAGER n key ..] [LAZY n key ..] [WILL n key ..] [MAY n key ..] [TTL ms]",
     "Begins a transaction that reads the EAGER keys, may read the LAZY ones, writes the WILL keys "
     "and may write the MAY ones. It is this connection's own, and released when TTL has passed or "
     "the connection ends.",
     "array of 2: the timestamp, and the values of the EAGER keys in the order given, null where "
     "absent, once all are known",
     command_txn_begin},
    {"TXN.READ", "transactions", 3, 3, R | COMMAND_QUEUED | F, 0, 0, 0, "timestamp key",
     "Reads an EAGER or LAZY key of an open transaction. One that still waits when the transaction "
     "ends, for its TXN.COMMIT too, is refused.",
     "the value, or null; NOLOCK, TXNEXPIRED", command_txn_read},
    {"TXN.COMMIT", "transactions", 2, -1, W | F, 0, 0, 0,
     "timestamp [n key value ..] [DEL n key ..]",
     "Writes and deletes, and ends the transaction. Each WILL key must be there, MAY keys left out "
     "are not written.",
     "OK, once it is durable; NOLOCK, TXNEXPIRED", command_txn_commit},
    {"TXN.ABORT", "transactions", 2, 2, W | F, 0, 0, 0, "timestamp",
     "Ends the transaction; nothing was written.", "OK; TXNEXPIRED", command_txn_abort},
    {"TXN.EXPLAIN", "transactions", 2, 2, R | COMMAND_QUEUED, 0, 0, 0, "timestamp",
     "Tells what an open transaction, of whatever connection, holds and waits for.",
     "map: began in ns, age and expires in ms, waiting: how many commands wait for it, and keys: "
     "an array of 5 for each: key, how it is declared, and the timestamp that a read of it waits "
     "for, how that one declared it, and when it began in ns, or null; TXNEXPIRED",
     command_txn_explain},

    {"SHARD.CREATE", "shards", 7, -1, 0, 0, 0, 0, "name LEARNER name WORKERS n name..",
     "Makes a shard in this server's memory, for workers, executors and a consensus that speak to "
     "it: a multi-version store with locks declared up front. Its anchors are those of the "
     "learner.",
     "OK; INUSE where there is one of this name", command_shard_create},
    {"SHARD.ACQUIRE", "shards", 7, -1, F, 0, 0, 0,
     "name timestamp WORKER name EXECUTOR name [EAGER n key..] [LAZY n key..] [WILL n key..] "
     "[MAY n key..]",
     "Places the locks of a transaction on the timelines of its keys: what it will read, may read, "
     "will write, may write. The same again is acknowledged again.",
     "LOCKED; TOOOLD where it would change what was promised, CONFLICT where the timestamp has "
     "other locks",
     command_shard_acquire},
    {"SHARD.READ", "shards", 4, 6, F, 0, 0, 0, "name timestamp key [ACTUAL 0|1]",
     "Asks for the value of a LAZY key; with ACTUAL 0 gives a read up, so that nothing is sent.",
     "OK; NOLOCK where there is no such read, or no more. The value goes to whoever listens as "
     "the executor",
     command_shard_read},
    {"SHARD.WRITE", "shards", 5, 6, F, 0, 0, 0, "name timestamp key VALUE value|NONE",
     "Writes a key that the transaction will or may write; NONE, for the latter, that it does not.",
     "OK; NOLOCK where there is no such write, or no more", command_shard_write},
    {"SHARD.SEEN", "shards", 6, 6, F, 0, 0, 0, "name WORKER name timestamp READS|WRITES",
     "Promises that no lock that reads, or that writes, with a smaller timestamp will come from "
     "the worker. A smaller promise than before changes nothing.",
     "OK", command_shard_seen},
    {"SHARD.ANCHOR", "shards", 7, 7, F, 0, 0, 0, "name chain learner height anchor timestamp",
     "Tells that consensus fixed everything up to the timestamp, which the promise of every worker "
     "for writes then is at least. Heights of a chain follow one another.",
     "OK; CONFLICT where the height is not the next, or held by another anchor",
     command_shard_anchor},
    {"SHARD.RELEASE", "shards", 3, 3, F, 0, 0, 0, "name timestamp",
     "Ends a transaction whose executor is gone: its reads are given up, its open writes become "
     "none.",
     "OK; NOLOCK where there is no such transaction", command_shard_release},
    {"SHARD.LISTEN", "shards", 3, 3, 0, 0, 0, 0, "name executor",
     "Makes this connection the executor: what it reads comes as pushes, what was kept for it "
     "first. When the connection ends, or at RESET, the executor's open transactions are released. "
     "In RESP2 the connection then takes only PING, RESET and QUIT.",
     "OK; INUSE where another connection listens as this executor. Then pushes: shard-read, the "
     "shard's name, timestamp, key, value or null",
     command_shard_listen},
    {"SHARD.INFO", "shards", 2, 2, F, 0, 0, 0, "name", "Describes a shard.",
     "map: heard-all-writes, heard-all-reads, keys, open, versions, anchors, waiting, remembered, "
     "memory, kept",
     command_shard_info},
    {"SHARD.DROP", "shards", 2, 2, 0, 0, 0, 0, "name",
     "Ends a shard and all it holds. Its executors are sent nothing more.", "OK",
     command_shard_drop},

    {"PING", "connection", 1, 2, F | COMMAND_WATCHING, 0, 0, 0, "[message]", "Answers.",
     "PONG, or the message; in RESP2 while watching: array of pong and the message", command_ping},
    {"ECHO", "connection", 2, 2, F, 0, 0, 0, "message", "Answers the message.", "the message",
     command_echo},
    {"HELLO", "connection", 1, 7, F | COMMAND_NO_AUTH, 0, 0, 0,
     "[2|3 [AUTH user password] [SETNAME name]]",
     "Chooses the version of the protocol; AUTH and SETNAME in the same step.",
     "map: server, version, proto, id, mode, role, modules", command_hello},
    {"AUTH", "connection", 2, 3, F | COMMAND_NO_AUTH, 0, 0, 0, "[user] password",
     "Authenticates. There is one user, default.", "OK; WRONGPASS", command_auth},
    {"RESET", "connection", 1, 1, F | COMMAND_WATCHING | COMMAND_NO_AUTH, 0, 0, 0, "",
     "Makes the connection as new: RESP2, no watch, no node, no name, not authenticated.", "RESET",
     command_reset},
    {"QUIT", "connection", 1, -1, F | COMMAND_WATCHING | COMMAND_NO_AUTH, 0, 0, 0, "",
     "Closes the connection when everything is answered.", "OK", command_quit},
    {"SELECT", "connection", 2, 2, F, 0, 0, 0, "0",
     "For clients that insist: there is one database, 0.", "OK", command_select},
    {"CLIENT", "connection", 2, 4, 0, 0, 0, 0,
     "ID | INFO | LIST | GETNAME | SETNAME name | SETINFO LIB-NAME|LIB-VER value | KILL address | "
     "KILL ID id | KILL ADDR address",
     "Names, lists and closes connections.",
     "ID: integer; INFO, LIST: text, one line a client; GETNAME: the name or null; KILL: OK, or "
     "with ID or ADDR how many; else OK",
     command_client},

    {"INFO", "server", 1, -1, R, 0, 0, 0, "[section ..]",
     "Tells how the server is: server, clients, memory, store, sequencer, box, nodes, "
     "transactions, shards, stats.",
     "text: lines of name:value", command_info},
    {"CONFIG", "server", 3, -1, COMMAND_ADMIN, 0, 0, 0, "GET pattern .. | SET name value ..",
     "Shows settings, and changes those that may change while the server runs: all that are given, "
     "or none.",
     "GET: map of names and values; SET: OK", command_config},
    {"COMMAND", "server", 1, -1, 0, 0, 0, 0, "[COUNT | DOCS [name ..] | INFO [name ..] | LIST]",
     "Describes the commands.", "as in Redis", command_command},
    {"TIME", "server", 1, 1, F, 0, 0, 0, "", "Tells the wall clock.",
     "array of 2: seconds since 1970, microseconds", command_time},
    {"SHUTDOWN", "server", 1, 2, COMMAND_ADMIN, 0, 0, 0, "[NOSAVE | SAVE]",
     "Stops the server as SIGTERM does: what was sent before is answered. Nothing is lost either "
     "way.",
     "none: the connection closes", command_shutdown},
};
const size_t command_count = sizeof commands / sizeof commands[0];

/* Prints words with line breaks at the width of the manual's pages. */
static void print_wrapped(FILE *out, const char *first, const char *text, const char *last)
{
    int column = fprintf(out, "%s", first);
    bool begins = true;
    while (*text != '\0') {
        int size = (int)strcspn(text, " ");
        bool breaks = column > 0 && column + 1 + size > 100;
        fprintf(out, "%s%.*s", begins ? "" : breaks ? "\n" : " ", size, text);
        column = breaks ? size : column + size + (begins ? 0 : 1);
        begins = false;
        text += size + (int)strspn(text + size, " ");
    }
    fprintf(out, "%s\n", last);
}

static void print_one(FILE *out, const struct command *command)
{
    const char *touches = (command->flags & COMMAND_WRITE) != 0   ? "Changes the store."
                          : (command->flags & COMMAND_READ) != 0  ? "Reads the store."
                          : (command->flags & COMMAND_ADMIN) != 0 ? "For operators."
                                                                  : "Does not touch the store.";
    fprintf(out, "### %s\n\n    %s%s%s\n\n", command->name, command->name,
            command->arguments[0] == '\0' ? "" : " ", command->arguments);
    print_wrapped(out, "", command->summary, "\n");
    print_wrapped(out, "Reply: ", command->reply, ".\n");
    fprintf(out, "%s%s%s\n", touches,
            (command->flags & COMMAND_WATCHING) != 0 ? " Allowed while watching in RESP2." : "",
            (command->flags & COMMAND_NO_AUTH) != 0 ? " Allowed before AUTH." : "");
}

void command_print(FILE *out)
{
    const char *group = "";
    fprintf(out,
            "# Commands\n\n"
            "This page is made by `lockstepd --print-commands` from the table that the server "
            "runs by.\nCommand words and keywords are case-insensitive. A payload is written "
            "`CBOR bytes` (one well-formed\nitem), `JSON text` (converted) or `TEXT utf-8`; a "
            "trailing `JSON` where messages or nodes are read\ngives payloads as JSON text. An "
            "error changes nothing.\n");
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(group, commands[i].group) != 0) {
            group = commands[i].group;
            fprintf(out, "\n## %c%s\n", group[0] - 'a' + 'A', group + 1);
        }
        fputc('\n', out);
        print_one(out, &commands[i]);
    }
}
