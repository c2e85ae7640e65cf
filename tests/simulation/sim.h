/*
 * The simulated world: processes over one disk, clients that talk to them over a network, and an
 * oracle that knows what must come of it. All randomness and all time come from the kernel, so one
 * seed gives one run, on every machine. Whatever does not hold ends the program with the seed and
 * the last events.
 *
 * What is real: the coordinator, the sequencer's batches, presence, the readers, and the embedded
 * side of the library under its public functions. What is simulated: time, the network, the store
 * below, and the few lines of a server that hand requests from connections to the sequencer.
 */
#ifndef LS_TESTS_SIM_H
#define LS_TESTS_SIM_H

#include "coordinator/coordinator.h"
#include "coordinator/read.h"
#include "cover.h"
#include "disk.h"
#include "model/kernel.h"
#include "sequencer/presence.h"
#include "sequencer/sequencer.h"
#include "txn/txn.h"

#define PROCESSES  3                     /* kernel nodes from 0 on */
#define CLIENTS    5                     /* kernel nodes from PROCESSES on */
#define ACTORS     (CLIENTS + PROCESSES) /* whoever may be a node: a client or a library's handle */
#define HOSTS      7                     /* enough for all, and some want the same */
#define KEYS       16
#define IDENTITIES (ACTORS * HOSTS) /* an actor is another node, with another id, at each host */
#define OPS_TXN    4
#define COUNTERS   4  /* the last keys hold numbers, where transactions use them */
#define PAGE       12 /* messages in one answer to a read */
#define PIPELINE   3  /* requests of a connection under way */
#define NOWHERE    UINT32_MAX
#define NOBODY     (-1)
#define CLOCK_JUMP (UINT64_C(1) << 32) /* how far ahead a carried clock may be */

#define MS      UINT64_C(1000000)
#define WALL_NS (UINT64_C(1700000000) * 1000 * MS) /* the wall clocks begin about here */

/* What a client or a handle asks for. */
enum ask {
    ASK_JOIN,
    ASK_POST,
    ASK_NEXT,
    ASK_WITNESS,
    ASK_TRIM,
    ASK_STATE,
    ASK_LEAVE,
    ASK_ACK,
    ASK_BEAT,
    ASK_PUT,
    ASK_DEL,
    ASK_TXN,
    ASK_READ,
    ASK_GET,
    ASK_SCAN,
    ASK_WATCH,
    ASK_BEGIN,
    ASK_TXN_READ,
    ASK_COMMIT,
    ASK_ABORT,
    ASK_RUN,
    ASK_TXN_GET,
    ASKS
};

extern const char *const ask_names[ASKS];

struct op_write {
    int key;
    bool del;
    enum txn_op_kind step; /* ASK_RUN */
    uint64_t check_number; /* TXN_OP_CHECK: the write that must be there; 0: none must */
    unsigned check_part;
};

/* What a transaction read: the write, or the number of a counter. */
struct read_value {
    bool absent;
    uint64_t number;
    unsigned part;
    uint64_t counter;
};

#define VALUES_MAX OPS_TXN

/* One thing asked for, whoever carries it out, and what has become of it. Its number is in what it
 * writes, so that the oracle knows it again. */
struct op {
    enum ask ask;
    int actor;
    uint64_t number; /* its place in the oracle's list, from 1 */

    uint64_t seq; /* ASK_POST: 0 for none */
    int host;     /* with seq: as which node */
    bool has_carried;
    uint64_t carried; /* ASK_POST; ASK_WITNESS: the value; ASK_ACK: the clock */
    char type;
    int to;         /* host; NOBODY: every node; ASK_JOIN: the one wanted */
    uint64_t count; /* ASK_NEXT; ASK_JOIN: the ttl */
    uint64_t from;  /* ASK_READ, ASK_WATCH; ASK_TRIM: before */
    uint64_t older_ns;
    bool leaving; /* ASK_STATE */
    bool owned, nx, xx;
    bool has_if;
    int if_key;
    uint64_t if_modified;
    size_t write_count;
    struct op_write writes[OPS_TXN]; /* ASK_PUT, ASK_DEL, ASK_GET: the first */
    uint64_t timestamp;              /* of the transaction; ASK_TXN_GET: 0 for now */
    unsigned eager, lazy, will, may; /* sets of keys; what is read is in `eager` */

    unsigned submitted; /* copies given to a sequencer */
    unsigned refused;   /* of these */
    unsigned parts;     /* which of its writes were seen in a commit */
    uint64_t commit;    /* and in which; 0: none was */
    uint64_t clock_submitted;
    bool calm; /* nothing failed any more when it was submitted */
};

struct answer {
    int status;
    uint64_t clock;
    uint64_t number; /* JOIN: last seq; TRIM: discarded; a refusal: the error's number */
    uint64_t clocks[OPS_TXN];
    uint64_t life; /* in which it was asked for: the clock of its join; 0: nobody's */
    struct read_value values[VALUES_MAX]; /* of the keys in `eager`, or of each step */
};

/* ---- what the world is like: drawn from the seed ---- */

struct weather {
    unsigned processes; /* how many there are */
    bool optimistic;
    uint64_t end_ns;
    uint64_t ttl_ms;
    uint64_t think_ns;  /* between what a client asks */
    uint64_t gather_ns; /* before a batch */
    uint64_t flush_ns;
    uint64_t crash;        /* chance at each flush */
    uint64_t fault;        /* chance at each call of a store, in bad times */
    uint64_t badness;      /* chance that a process has bad times, at each turn of the weather */
    uint64_t full;         /* chance of a full disk, at each turn of the weather */
    uint64_t cut;          /* chance of a partition, likewise */
    uint64_t transactions; /* one in so many things asked for is of them */
    uint64_t history_ms;   /* of the transactions */
    uint64_t memory;       /* bytes of their versions in memory */
    uint64_t stall;        /* chance that a process or client stops for a while, likewise */
};

/* ---- packets that arrive in any order, and are taken in the order sent ---- */

#define INBOX_MAX 16

struct inbox {
    uint64_t next; /* the place of the packet that is taken next */
    size_t count;
    uint32_t held[INBOX_MAX];
};

/* ---- processes ---- */

struct connection {
    uint64_t number; /* of the client's connections; 0: none */
    bool closed;
    struct inbox in;
    uint64_t out; /* the place of the next packet sent */
    bool bound;
    struct binding life;
    uint64_t heard_ns;
    size_t pending;       /* writes not answered yet */
    size_t waiting_count; /* requests behind them */
    uint64_t waiting[2 * PIPELINE];
    bool watching;
    uint64_t next; /* of the watch */
    uint64_t txn;  /* the open transaction; 0: none */
};

struct pending;

struct process {
    unsigned index;
    bool embedded;
    struct store *store;
    uint64_t monotonic_ns; /* what its clocks are ahead of the kernel's */
    int64_t wall_ns;
    uint64_t stalled_until_ns;
    bool bad_times;
    uint64_t epoch;
    struct retention keep;

    /* Served. */
    struct sequencer *sequencer;
    struct presence *presence;
    struct txn *txn;
    bool ticking;  /* a tick of the transactions is on its way */
    bool stepping; /* a step is scheduled, or its answers are */
    bool retaining;
    struct connection connections[CLIENTS];
    uint64_t undone;          /* batches that ran one by one */
    struct pending *pendings; /* given to the sequencer and not back yet */

    /* Embedded: a handle, which is an actor. */
    struct ls *handle;
    struct ls_watch *watch;
    struct ls_object_watch *objects;
    size_t watch_index;  /* into the oracle's log */
    uint64_t seen[KEYS]; /* `modified`, as the object watch told */
    bool joined;
    int host;
    uint64_t joined_clock;
    uint64_t seq; /* the last number, as far as it knows */
    uint64_t used_ns;
    const struct op *trimming; /* the call under way, if it is a trim */
};

/* ---- clients ---- */

struct client {
    unsigned index; /* its actor as well */
    unsigned process;
    uint64_t connection; /* its number; 0: none */
    uint64_t out;        /* the place of the next packet */
    struct inbox in;
    bool joined;
    bool joining;
    bool in_use; /* the host that it wanted last */
    int host;
    struct binding life;
    size_t waiting;              /* answers */
    uint64_t sent[2 * PIPELINE]; /* the ops that wait for them, in order */
    uint64_t last_clock;         /* answered on this connection */
    uint64_t heard_ns;           /* the last one, or the first request after it */
    uint64_t stalled_until_ns;
    bool known[HOSTS]; /* the last number of the node that it is there is settled */
    uint64_t seq[HOSTS];
    uint64_t doubt;  /* the op of the numbered post that is not; 0: none */
    bool doubt_sent; /* on this connection */
    unsigned doubt_copies;
    uint64_t clock; /* its own */
    bool blocked;   /* it waits for a transaction */
    uint64_t txn;   /* open; 0: none */
    bool leaves;    /* it leaves its transaction alone */
    unsigned reads; /* the keys that it declared */
    unsigned will;
    unsigned may;
    bool watching;
    bool asked_watch;
    uint64_t next;      /* of its watch */
    size_t watch_index; /* into the oracle's log */
};

struct sim;

/* ---- the oracle ---- */

struct entry {
    uint64_t clock;
    uint64_t check;
    uint64_t timestamp_ns;
    uint64_t commit;
    uint64_t previous; /* O: as the message says */
    uint64_t bytes;
    uint64_t number; /* of the op, 0: none */
    unsigned part;   /* of the op */
    char type;
    char event;
    bool there; /* O: it was put, not deleted */
    int key;    /* of an object */
    int host;   /* of a node */
    int actor;  /* who it is from */
    int from;   /* and as which host */
    int to;     /* host */
};

struct known_object {
    bool there;
    uint64_t created;
    uint64_t modified;
    uint64_t told; /* modified, as the messages say */
    uint64_t number;
    int owner; /* host */
    int owner_actor;
};

struct known_node {
    bool there;
    enum node_state state;
    int actor;
    uint64_t joined;
    uint64_t modified;
    uint64_t told;
    uint64_t beat;
    uint64_t clock;
    uint64_t ttl_ms;
    uint64_t via;
    uint64_t changed_ns; /* when the life or its beat last changed */
};

struct known_producer {
    uint64_t seq;
    uint64_t clock;
};

/* A version of a key of the transactions; what was collected stays known here. */
struct known_version {
    uint64_t timestamp;
    uint64_t sequence; /* in the version log */
    bool deleted;
    bool stored; /* under V */
    struct read_value value;
};

struct known_versions {
    struct known_version *items; /* by timestamp */
    size_t count;
    size_t capacity;
};

/* A read that was answered: everything below `bound`, of which `timestamp` was the newest. */
struct known_read {
    int key;
    uint64_t bound;
    uint64_t timestamp;
};

struct known_txn {
    uint64_t timestamp;
    uint64_t since_ns;
    uint64_t ttl_ms;
};

struct oracle {
    struct known_versions versions[KEYS];
    uint64_t logged, merged, trimmed, collected; /* of the version log */
    struct known_read *reads;
    size_t read_count;
    size_t read_capacity;
    struct known_txn *txns; /* open */
    size_t txn_count;
    size_t txn_capacity;
    struct entry *log;
    size_t log_count;
    size_t log_capacity;
    size_t log_first; /* the oldest kept */
    struct op **ops;
    size_t op_count;
    size_t op_capacity;
    uint64_t *used; /* clock values given out: a hash table */
    size_t used_count;
    size_t used_capacity;
    uint64_t commit;
    uint64_t clock;
    uint64_t newest;
    uint64_t chain;
    uint64_t discarded;
    uint64_t discarded_chain;
    uint64_t count;
    uint64_t bytes;
    uint64_t epoch;
    uint64_t indexed;
    bool live[HOSTS]; /* in the index of live nodes */
    uint64_t live_said;
    struct known_object objects[KEYS];
    struct known_node nodes[HOSTS];
    struct known_producer producers[IDENTITIES];
    uint64_t posted[IDENTITIES]; /* the newest number in the box */
};

struct sim {
    uint64_t seed;
    struct kernel kernel;
    struct weather weather;
    struct disk *disk;
    struct process processes[PROCESSES];
    struct client clients[CLIENTS];
    struct oracle oracle;
    struct packet *packets;
    size_t packet_capacity;
    uint32_t packet_free;
    uint64_t digest;               /* of the trace */
    unsigned inside;               /* the process whose code runs */
    unsigned depth;                /* commits within commits */
    bool cut;                      /* the network is */
    bool full;                     /* the disk is */
    bool calm;                     /* the end: nothing fails any more */
    uint64_t calm_answers[ACTORS]; /* answered then */
};

/* ---- sim.c: the run, its trace and its failures ---- */

extern struct sim *sim_now; /* the run under way: for what has no context of its own */

uint64_t draw(struct sim *sim, uint64_t limit);
bool one_in(struct sim *sim, uint64_t n);
bool chance(struct sim *sim, uint64_t chance);

void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
void sim_check(struct sim *sim, int rc, const struct ls_error *error, const char *doing);
void *sim_memory(void *memory); /* asserts that there is some */

/* The process is down; it comes up again after a while. */
void sim_process_gone(struct sim *sim, struct process *process);

/* Runs one seed: the digest of its trace. */
uint64_t sim_run(uint64_t seed, bool print);
/* Prints the last events of the run under way. */
void sim_print_trace(void);

uint64_t process_wall_ns(const struct process *process);
uint64_t process_monotonic_ns(const struct process *process);

enum event_kind {
    EVENT_PACKET,  /* value: the packet */
    EVENT_STEP,    /* a process runs a batch */
    EVENT_FLUSHED, /* and hands out what is done */
    EVENT_PRESENCE,
    EVENT_RETAIN,
    EVENT_TICK,  /* its transactions */
    EVENT_WATCH, /* a commit was made somewhere: watches read on */
    EVENT_CALL,  /* an embedded process does something */
    EVENT_START, /* a process comes up; value: its index */
    EVENT_THINK, /* a client */
    EVENT_WEATHER
};

/* ---- packet.c: what travels ---- */

enum packet_kind {
    PACKET_REQUEST,
    PACKET_RESET, /* the client has given the connection up */
    PACKET_ANSWER,
    PACKET_MESSAGES,     /* of a watch */
    PACKET_LOST_MESSAGES /* the watch fell behind */
};

struct packet {
    uint32_t next_free;
    unsigned refs;
    enum packet_kind kind;
    uint32_t from; /* kernel node */
    unsigned client;
    uint64_t connection;
    uint64_t place; /* in its direction of the connection */
    uint64_t op;
    struct answer answer;
    struct binding life;
    size_t count; /* of messages */
    uint64_t clocks[PAGE];
    uint64_t checks[PAGE];
};

uint32_t packet_new(struct sim *sim, enum packet_kind kind);
struct packet *packet_at(struct sim *sim, uint32_t index);
void packet_send(struct sim *sim, uint32_t from, uint32_t to, uint32_t index);
void packet_release(struct sim *sim, uint32_t index);

/* A packet arrived. The inbox keeps what comes too early and releases what came before; inbox_next
 * gives the next in order, or NOWHERE: the taker releases it. */
void inbox_put(struct sim *sim, struct inbox *inbox, uint32_t index);
uint32_t inbox_next(struct sim *sim, struct inbox *inbox);
void inbox_clear(struct sim *sim, struct inbox *inbox);

/* ---- oracle.c, oracle_answer.c ---- */

void oracle_close(struct oracle *oracle);
struct op *oracle_op(struct sim *sim, uint64_t number);
struct op *oracle_new_op(struct sim *sim, enum ask ask, int actor);
void oracle_committed(struct sim *sim, struct process *process, const struct disk_edit *edits,
                      size_t count);
/* The op was given to a sequencer. */
void oracle_submitted(struct sim *sim, struct op *op);
/* The answer leaves the process. */
void oracle_answered(struct sim *sim, struct op *op, const struct answer *answer);
/* The first entry of the log with clock >= from. */
size_t oracle_find(const struct oracle *oracle, uint64_t from);
/* A clock value was given out: never before. */
void oracle_give(struct sim *sim, uint64_t clock);
/* Reads of the newest commit; `checks` may be NULL. */
void oracle_read(struct sim *sim, uint64_t from, size_t most, int rc, uint64_t oldest,
                 const uint64_t *clocks, const uint64_t *checks, size_t count);
void oracle_object(struct sim *sim, int key, int rc, uint64_t created, uint64_t modified);
/* Whether the process may discard this entry, the oldest, now. */
bool process_may_discard(struct sim *sim, struct process *process, const struct entry *entry);
/* Whether the process holds, or held when it found it late, this life, and for how long it had
 * heard nothing of it then. */
bool process_silent(const struct process *process, uint64_t joined, uint64_t *silent_ns);
/* A write of an op is seen in a commit: it must have been asked for and not refused, and be seen
 * once. */
struct op *oracle_write_seen(struct sim *sim, ls_bytes mark, unsigned *part);

/* oracle_txn.c: edits of versions and of open transactions, and answers about them. */
void oracle_version(struct sim *sim, struct process *process, ls_bytes key, ls_bytes value);
/* A record of the version log, and the record that counts them. */
void oracle_logged(struct sim *sim, uint64_t sequence, ls_bytes record);
void oracle_txns(struct sim *sim, const struct control *control);
void oracle_open(struct sim *sim, struct process *process, uint64_t timestamp, ls_bytes record);
void oracle_txn_done(struct sim *sim, const struct op *op, const struct answer *answer);
bool oracle_is_open(const struct oracle *oracle, uint64_t timestamp);
bool is_counter(int key);
struct read_value value_read(int key, ls_bytes value, bool absent);
void oracle_txn_close(struct oracle *oracle);
/* Whether the process ends this transaction because somebody asked for it. */
bool process_ends(const struct process *process, uint64_t timestamp);
/* The whole store, from its records alone. */
void oracle_audit(struct sim *sim);

/* ---- process.c ---- */

void process_start(struct sim *sim, struct process *process);
/* It is gone, with all that was not committed. */
void process_crash(struct sim *sim, struct process *process);
void process_packet(struct sim *sim, struct process *process, uint32_t packet);
void process_step(struct sim *sim, struct process *process);
void process_flushed(struct sim *sim, struct process *process);
void process_presence(struct sim *sim, struct process *process);
void process_retain(struct sim *sim, struct process *process);
void process_watch(struct sim *sim, struct process *process);
void process_tick(struct sim *sim, struct process *process);
/* What the loop does while the sequencer flushes. */
void process_meanwhile(struct sim *sim, struct process *process);

/* ---- embedded.c ---- */

void embedded_start(struct sim *sim, struct process *process);
void embedded_crash(struct sim *sim, struct process *process);
void embedded_call(struct sim *sim, struct process *process);
/* Ends the handle in peace. */
void embedded_end(struct process *process);

/* ---- client.c ---- */

void client_think(struct sim *sim, struct client *client);
void client_packet(struct sim *sim, struct client *client, uint32_t packet);
/* Makes what a client or a handle that is joined (or not) may ask next. */
struct op *ask_anything(struct sim *sim, int actor, bool joined, uint64_t clock);

/* client_txn.c: what a client does with transactions. */
struct op *ask_transaction(struct sim *sim, struct client *client);
void heard_transaction(struct client *client, const struct op *op, const struct answer *answer);
bool is_transaction(enum ask ask);
const char *sim_host(int host);
int sim_host_index(ls_bytes host);
const char *sim_key(int key);
int sim_key_index(ls_bytes key);
int identity(int actor, int host);
void identity_make(uint8_t id[16], int actor, int host);
int identity_of(const uint8_t id[16]);

/* What a write carries: the op, which part of it, and who. 24 bytes, and as CBOR 26. */
#define MARK_SIZE 24
#define ITEM_SIZE (MARK_SIZE + 2)
void mark_make(uint8_t mark[MARK_SIZE], const struct op *op, unsigned part);
void item_make(uint8_t item[ITEM_SIZE], const struct op *op);

#endif
