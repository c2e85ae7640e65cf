/* What the files of lockstep post share. */
#ifndef LS_CLI_POST_H
#define LS_CLI_POST_H

#include "cli/cli.h"

/* What every message of one invocation has in common. */
struct post_form {
    char type;
    char event;
    enum ls_payload_kind kind; /* of the lines */
    const char *to;            /* a host; NULL: every node */
};

#define POST_BATCH_MAX 512

/* Messages on their way, in order. */
struct post_batch {
    size_t count;
    ls_bytes items[POST_BATCH_MAX];  /* one CBOR item each */
    uint64_t clocks[POST_BATCH_MAX]; /* of those that were posted; 0: not posted */
};

/* Where messages go many at a time. */
struct post_way {
    /* Posts what is in the batch, in order, and sets its clocks. 0, or what the first message that
     * was refused got: its place is *refused, and those behind it may have been posted. Where the
     * connection was lost, those from *refused on without a clock may have been posted too. */
    int (*post)(void *context, struct post_batch *batch, size_t *refused, struct ls_error *error);
    void (*close)(void *context);
    void *context;
};

/* One transaction and one flush a batch, on a directory; one round trip a batch, on a server. */
int post_way_open(struct post_way *way, const struct cli *cli, const struct post_form *form,
                  struct ls_error *error);

/* One by one through the library, exactly once, for a handle that joined. */
int post_way_handle(struct post_way *way, ls *handle, const struct post_form *form,
                    struct ls_error *error);

/* Posts each line of standard input and prints its clock: EXIT_OK or EXIT_FAILED. */
int post_lines(const struct cli *cli, const struct post_form *form, const struct post_way *way);

#endif
