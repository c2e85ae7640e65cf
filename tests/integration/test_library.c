/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture of the library's suite, and its main: a fresh store, and a fresh server, a test. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "library.h"
#include "port.h"

static const char *kind;
static const char *server_path;
static char directory[] = "/tmp/lockstep-library-XXXXXX";
static unsigned store_number;
static pid_t server;

bool kind_is(const char *name)
{
    return strcmp(kind, name) == 0;
}

/* ---- the server ---- */

static bool accepts(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

static void start_server(unsigned port)
{
    char listen[64], store[128], log[160];
    snprintf(listen, sizeof listen, "127.0.0.1:%u", port);
    snprintf(store, sizeof store, "lmdb:%s/store-%u", directory, store_number);
    snprintf(log, sizeof log, "%s/log-%u", directory, store_number);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, STDERR_FILENO);
        dup2(fd, STDOUT_FILENO);
        execl(server_path, "lockstepd", "--listen", listen, "--store", store, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < PATIENCE_MS / 5 && !accepts(port); i++) {
        assert_int_equal(0, waitpid(server, NULL, WNOHANG));
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

void kill_and_restart_server(const struct fixture *fixture)
{
    assert_int_equal(0, kill(server, SIGKILL));
    assert_int_equal(server, waitpid(server, NULL, 0));
    start_server(fixture->port);
}

static void stop_server(void)
{
    if (server > 0) {
        int status;
        kill(server, SIGTERM);
        assert_int_equal(server, waitpid(server, &status, 0));
        server = 0;
        assert_int_equal(0, status);
    }
}

/* ---- the fixture ---- */

int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (fixture == NULL) {
        return -1;
    }
    store_number++;
    if (kind_is("lockstep")) {
        fixture->port = free_port();
        assert_int_not_equal(0, fixture->port);
        start_server(fixture->port);
        snprintf(fixture->url, sizeof fixture->url, "lockstep://127.0.0.1:%u", fixture->port);
    } else if (kind_is("lmdb")) {
        snprintf(fixture->url, sizeof fixture->url, "lmdb:%s/store-%u", directory, store_number);
    } else {
        snprintf(fixture->url, sizeof fixture->url, "mem:");
    }
    assert_ok(ls_open(&fixture->handle, fixture->url, NULL));
    *state = fixture;
    return 0;
}

int fixture_close(void **state)
{
    struct fixture *fixture = *state;
    ls_close(fixture->handle);
    stop_server();
    free(fixture);
    return 0;
}

ls *open_again(const struct fixture *fixture, const ls_options *options)
{
    ls *handle = NULL;
    assert_string_not_equal("mem:", fixture->url);
    assert_ok(ls_open(&handle, fixture->url, options));
    return handle;
}

void assert_code_at(int expected, int result, const char *call, const char *file, int line)
{
    if (result != expected) {
        print_error("%s gave %s where %s was expected; the last error is %s, %llu: %s\n", call,
                    ls_errname(result), ls_errname(expected), ls_errname(ls_last_error()->code),
                    (unsigned long long)ls_last_error()->number, ls_last_error()->text);
        _fail(file, line);
    }
    if (expected != 0 && ls_last_error()->code != expected) {
        print_error("%s gave %s, but the last error is %s\n", call, ls_errname(result),
                    ls_errname(ls_last_error()->code));
        _fail(file, line);
    }
}

ls_bytes bytes(const char *text)
{
    return (ls_bytes){text, strlen(text)};
}

void assert_bytes(const char *expected, ls_bytes actual)
{
    assert_int_equal(strlen(expected), actual.size);
    if (actual.data != NULL) {
        assert_memory_equal(expected, actual.data, actual.size);
        assert_int_equal('\0', ((const char *)actual.data)[actual.size]);
    }
}

uint64_t post_text(ls *handle, const char *text)
{
    uint64_t clock = 0;
    assert_ok(ls_post(handle, LS_USER, LS_NO_EVENT, ls_text(text), NULL, &clock));
    return clock;
}

size_t count_messages(ls *handle, uint64_t from, const ls_filter *filter)
{
    size_t count = 0;
    uint64_t last = from == 0 ? 0 : from - 1;
    for (;;) {
        ls_messages *messages;
        assert_ok(ls_read(handle, from, filter, 1000, 0, &messages));
        size_t some = ls_messages_count(messages);
        for (size_t i = 0; i < some; i++) {
            assert_true(ls_messages_get(messages, i)->clock > last);
            last = ls_messages_get(messages, i)->clock;
        }
        assert_null(ls_messages_get(messages, some));
        ls_messages_free(messages);
        if (some == 0) {
            return count;
        }
        count += some;
        from = last + 1;
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

static int run(const char *group, const struct CMUnitTest *tests, size_t count)
{
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s lmdb|mem|lockstep [LOCKSTEPD]\n", argv[0]);
        return 2;
    }
    kind = argv[1];
    server_path = argc == 3 ? argv[2] : "lockstepd";
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    int failed = 0;
    failed += run("basic", library_basic_tests, library_basic_count);
    failed += run("box", library_box_tests, library_box_count);
    failed += run("nodes", library_node_tests, library_node_count);
    failed += run("objects", library_object_tests, library_object_count);
    failed += run("transactions", library_txn_tests, library_txn_count);
    failed += run("sharing", library_sharing_tests, library_sharing_count);
    if (server > 0) {
        kill(server, SIGKILL);
    }
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed == 0 ? 0 : 1;
}
