/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real server, killed again and again in the middle of its work: a thousand numbered posts of
 * four nodes are in the box once each, in each node's order, and a watch that was open all the
 * while sees each once, in the order of the clock. The killing follows the posting, not a
 * timetable.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lockstep.h"
#include "port.h"

#define NODES       4
#define POSTS_EACH  250
#define POSTS       (NODES * POSTS_EACH)
#define KILLS       10
#define PATIENCE_MS 30000

static const char *server_path;
static char directory[] = "/tmp/lockstep-reconnect-XXXXXX";
static char listen_on[64];
static char url[96];
static pid_t server;

static void choose_port(void)
{
    unsigned port = free_port();
    assert_int_not_equal(port, 0);
    snprintf(listen_on, sizeof listen_on, "127.0.0.1:%u", port);
    snprintf(url, sizeof url, "lockstep://%s", listen_on);
}

/* Starts the server and does not wait for it: that is the library's part. */
static void start_server(void)
{
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        char store[128], log[128];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(store, sizeof store, "lmdb:%s/store", directory);
        snprintf(log, sizeof log, "%s/log", directory);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDERR_FILENO);
        dup2(fd, STDOUT_FILENO);
        execl(server_path, "lockstepd", "--listen", listen_on, "--store", store, (char *)NULL);
        _exit(127);
    }
}

static void end_server(int with)
{
    int status;
    kill(server, with);
    assert_int_equal(waitpid(server, &status, 0), server);
    server = 0;
}

static ls *open_handle(void)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle = NULL;
    options.timeout_ms = PATIENCE_MS;
    for (int i = 0; i < 1000 && ls_open(&handle, url, &options) != 0; i++) {
        usleep(10000); /* the first start of the server */
    }
    assert_non_null(handle);
    return handle;
}

/* ---- posting ---- */

struct poster {
    ls *handle;
    int node;
    uint64_t clocks[POSTS_EACH];
    char failure[300];
};

static atomic_int posted;

static void *post_all(void *argument)
{
    struct poster *poster = argument;
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.once = true;

    for (int i = 0; i < POSTS_EACH && poster->failure[0] == '\0'; i++) {
        char json[32];
        snprintf(json, sizeof json, "[%d,%d]", poster->node, i);
        int rc = ls_post(poster->handle, LS_USER, LS_NO_EVENT, ls_json(json), &options,
                         &poster->clocks[i]);
        if (rc != 0) {
            snprintf(poster->failure, sizeof poster->failure, "post %d of node %d: %d %s", i,
                     poster->node, rc, ls_last_error()->text);
        }
        atomic_fetch_add(&posted, rc == 0 ? 1 : POSTS); /* a failure lets nobody wait for more */
    }
    return NULL;
}

/* Kills the server when the next share of the posts is done, and starts it again, KILLS times. On
 * the main thread: the server ends with the thread that started it. */
static void kill_often(void)
{
    for (int i = 1; i <= KILLS; i++) {
        while (atomic_load(&posted) < i * POSTS / (KILLS + 1)) {
            usleep(1000);
        }
        end_server(SIGKILL);
        start_server();
    }
}

/* ---- watching ---- */

/* What was seen: the messages of each node must come as 0, 1, 2, ... */
struct seen {
    int next[NODES];
    uint64_t clock;
    int count;
    char failure[300];
};

static void check_message(struct seen *seen, const struct poster *posters,
                          const ls_message *message)
{
    char *json = NULL;
    int node = -1;
    int number = -1;
    if (ls_cbor_to_json(message->object, &json) == 0) {
        (void)sscanf(json, "[%d,%d]", &node, &number);
    }
    ls_free(json);
    if (node < 0 || node >= NODES || number != seen->next[node] || message->clock <= seen->clock) {
        snprintf(seen->failure, sizeof seen->failure, "message %d of node %d at %llu after %llu",
                 number, node, (unsigned long long)message->clock, (unsigned long long)seen->clock);
        return;
    }
    char host[16];
    snprintf(host, sizeof host, "node-%d", node);
    if (message->from.size != strlen(host) || memcmp(message->from.data, host, strlen(host)) != 0) {
        snprintf(seen->failure, sizeof seen->failure, "message %d of node %d is not from it",
                 number, node);
        return;
    }
    if (posters != NULL && posters[node].clocks[number] != message->clock) {
        snprintf(seen->failure, sizeof seen->failure, "message %d of node %d at another clock",
                 number, node);
        return;
    }
    seen->next[node]++;
    seen->clock = message->clock;
    seen->count++;
}

struct watcher {
    ls *handle;
    ls_watch *watch;
    struct seen seen;
};

static void *watch_all(void *argument)
{
    struct watcher *watcher = argument;
    struct seen *seen = &watcher->seen;
    while (seen->count < POSTS && seen->failure[0] == '\0') {
        ls_message message;
        int rc = ls_watch_next(watcher->watch, PATIENCE_MS, &message);
        if (rc == 0) {
            check_message(seen, NULL, &message);
        } else {
            snprintf(seen->failure, sizeof seen->failure, "watch after %d: %d %s", seen->count, rc,
                     ls_last_error()->text);
        }
    }
    return NULL;
}

static void check_box(ls *handle, const struct poster *posters)
{
    struct seen seen = {0};
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    uint64_t from = LS_OLDEST;
    size_t count;
    do {
        ls_messages *messages;
        assert_int_equal(ls_read(handle, from, &filter, 64, 0, &messages), 0);
        count = ls_messages_count(messages);
        for (size_t i = 0; i < count; i++) {
            check_message(&seen, posters, ls_messages_get(messages, i));
            assert_string_equal(seen.failure, "");
        }
        ls_messages_free(messages);
        from = seen.clock + 1;
    } while (count > 0);
    assert_int_equal(seen.count, POSTS);
}

static void each_numbered_post_is_there_once_though_the_server_is_killed(void **state)
{
    static struct poster posters[NODES];
    struct watcher watcher = {0};
    pthread_t threads[NODES + 1];
    (void)state;

    start_server();
    watcher.handle = open_handle();
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    assert_int_equal(ls_watch_open(watcher.handle, LS_OLDEST, &filter, &watcher.watch, NULL), 0);
    for (int i = 0; i < NODES; i++) {
        char host[16];
        snprintf(host, sizeof host, "node-%d", i);
        posters[i].node = i;
        posters[i].handle = open_handle();
        assert_int_equal(ls_node_join(posters[i].handle, host, NULL, NULL), 0);
    }
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[NODES], NULL, watch_all, &watcher), 0);
    kill_often();
    for (int i = 0; i < NODES + 1; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < NODES; i++) {
        assert_string_equal(posters[i].failure, "");
    }
    assert_string_equal(watcher.seen.failure, "");
    assert_int_equal(watcher.seen.count, POSTS);
    check_box(watcher.handle, posters);

    ls_watch_close(watcher.watch);
    ls_close(watcher.handle);
    for (int i = 0; i < NODES; i++) {
        ls_close(posters[i].handle);
    }
    end_server(SIGTERM);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

static int clean(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    return nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_numbered_post_is_there_once_though_the_server_is_killed),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s LOCKSTEPD\n", argv[0]);
        return 2;
    }
    server_path = argv[1];
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    choose_port();
    return cmocka_run_group_tests(tests, NULL, clean);
}
