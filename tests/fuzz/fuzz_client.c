/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library against a server that answers anything: on every connection HELLO is answered as it
 * should be, the request after it with the input, and then the connection ends. The first byte
 * chooses the call. Each call returns in time, and every byte of what it gives is there.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "check.h"
#include "lockstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIMEOUT_MS 8
#define EVENTS_MAX 64

static const char hello[] =
    "%7\r\n+server\r\n+lockstep\r\n+version\r\n+0\r\n+proto\r\n:3\r\n+id\r\n:1\r\n"
    "+mode\r\n+standalone\r\n+role\r\n+master\r\n+modules\r\n*0\r\n";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ls_bytes script; /* what the server says, under the lock */
static char url[64];

/* Answers HELLO, and the first request after it with the script. */
static void serve(int fd)
{
    char request[4096];
    if (recv(fd, request, sizeof request, 0) <= 0) {
        return;
    }
    (void)send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL);
    if (recv(fd, request, sizeof request, 0) <= 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    (void)send(fd, script.data, script.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    pthread_mutex_unlock(&lock);
    shutdown(fd, SHUT_WR);
    while (recv(fd, request, sizeof request, 0) > 0) {
    }
}

static void run_thread(void *(*run)(void *context), int fd)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, (void *)(intptr_t)fd) == 0);
    CHECK(pthread_detach(thread) == 0);
}

static void *run_connection(void *context)
{
    int fd = (int)(intptr_t)context;
    serve(fd);
    close(fd);
    return NULL;
}

static void *run_listener(void *context)
{
    for (;;) {
        int fd = accept((int)(intptr_t)context, NULL, NULL);
        if (fd >= 0) {
            run_thread(run_connection, fd);
        }
    }
    return NULL;
}

static void start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK(bind(listener, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 64) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(url, sizeof url, "lockstep://127.0.0.1:%d", ntohs(address.sin_port));
    run_thread(run_listener, listener);
}

/* Reads every byte, so that a sanitizer sees one that is not there. */
static void touch(ls_bytes bytes)
{
    static volatile uint8_t sum;
    for (size_t i = 0; i < bytes.size; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)bytes.data)[i]);
    }
}

static void touch_message(const ls_message *message)
{
    touch(message->from);
    touch(message->to);
    touch(message->object);
}

static void touch_object(const ls_object *object)
{
    touch(object->key);
    touch(object->value);
}

static void try_read(ls *handle, int64_t timeout_ms)
{
    ls_messages *messages;
    if (ls_read(handle, 1, NULL, 10, timeout_ms, &messages) == 0) {
        for (size_t i = 0; i < ls_messages_count(messages); i++) {
            touch_message(ls_messages_get(messages, i));
        }
        ls_messages_free(messages);
    }
}

static void try_scan(ls *handle)
{
    ls_objects *objects;
    if (ls_scan(handle, bytes_of_text("k"), (ls_bytes){0}, 10, &objects) == 0) {
        for (size_t i = 0; i < ls_objects_count(objects); i++) {
            touch_object(ls_objects_get(objects, i));
        }
        ls_objects_free(objects);
    }
}

static void try_get(ls *handle)
{
    ls_objects *objects;
    if (ls_get(handle, bytes_of_text("k"), &objects) == 0) {
        CHECK(ls_objects_count(objects) == 1);
        touch_object(ls_objects_get(objects, 0));
        ls_objects_free(objects);
    }
}

static void try_nodes(ls *handle)
{
    ls_nodes *nodes;
    if (ls_node_list(handle, &nodes) == 0) {
        for (size_t i = 0; i < ls_nodes_count(nodes); i++) {
            touch(ls_nodes_get(nodes, i)->host);
            touch(ls_nodes_get(nodes, i)->meta);
        }
        ls_nodes_free(nodes);
    }
}

static void try_watch(ls *handle)
{
    ls_watch *watch;
    ls_message message;
    if (ls_watch_open(handle, 1, NULL, &watch, NULL) == 0) {
        for (int i = 0; i < EVENTS_MAX && ls_watch_next(watch, 1, &message) == 0; i++) {
            touch_message(&message);
        }
        ls_watch_close(watch);
    }
}

static void try_object_watch(ls *handle)
{
    ls_object_watch *watch;
    enum ls_object_event event;
    ls_object object;
    if (ls_object_watch_open(handle, bytes_of_text("k"), &watch) == 0) {
        for (int i = 0; i < EVENTS_MAX; i++) {
            object = (ls_object){0};
            if (ls_object_watch_next(watch, 1, &event, &object) != 0) {
                break;
            }
            touch_object(&object);
        }
        ls_object_watch_close(watch);
    }
}

static void try_node(ls *handle)
{
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    ls_message message;
    uint64_t clock;
    if (ls_node_join(handle, "h", &options, NULL) == 0) {
        (void)ls_node_beat(handle, &clock);
        for (int i = 0; i < EVENTS_MAX && ls_relay_next(handle, 1, &message) == 0; i++) {
            touch_message(&message);
        }
    }
}

static void try_batch(ls *handle)
{
    ls_batch *batch;
    uint64_t clocks[2];
    if (ls_batch_new(handle, &batch) == 0) {
        CHECK(ls_batch_put(batch, bytes_of_text("a"), bytes_of_text("b")) == 0);
        CHECK(ls_batch_del(batch, bytes_of_text("c")) == 0);
        (void)ls_batch_commit(batch, clocks);
        ls_batch_free(batch);
    }
}

static void try_transaction(ls *handle)
{
    const ls_txn_key keys[] = {{bytes_of_text("a"), LS_TXN_EAGER | LS_TXN_WILL},
                               {bytes_of_text("b"), LS_TXN_EAGER},
                               {bytes_of_text("c"), LS_TXN_LAZY}};
    ls_transaction *transaction;
    ls_bytes value;
    if (ls_txn_begin(handle, keys, 3, NULL, &transaction) == 0) {
        CHECK(ls_txn_read(transaction, bytes_of_text("a"), &value) == 0);
        touch(value);
        CHECK(ls_txn_read(transaction, bytes_of_text("b"), &value) == 0);
        touch(value);
        if (ls_txn_read(transaction, bytes_of_text("c"), &value) == 0) {
            touch(value);
        }
        CHECK(ls_txn_put(transaction, bytes_of_text("a"), value) == 0);
        (void)ls_txn_commit(transaction);
    }
}

static void touch_values(ls_values *values, size_t count)
{
    CHECK(ls_values_count(values) == count);
    for (size_t i = 0; i < count; i++) {
        touch(*ls_values_get(values, i));
    }
    ls_values_free(values);
}

static void try_execute(ls *handle)
{
    const ls_txn_operation operations[] = {
        {.kind = LS_TXN_GET, .key = bytes_of_text("a")},
        {.kind = LS_TXN_INCRBY, .key = bytes_of_text("b"), .number = -1}};
    const ls_bytes keys[] = {bytes_of_text("a"), bytes_of_text("b")};
    ls_values *values;
    if (ls_txn_execute(handle, operations, 2, &values) == 0) {
        touch_values(values, 2);
    }
    if (ls_txn_get(handle, 1, keys, 2, &values) == 0) {
        touch_values(values, 2);
    }
}

static void try_explain(ls *handle)
{
    ls_txn_marks *marks;
    if (ls_txn_explain(handle, 1, NULL, &marks) == 0) {
        for (size_t i = 0; i < ls_txn_marks_count(marks); i++) {
            touch(ls_txn_marks_get(marks, i)->key);
        }
        ls_txn_marks_free(marks);
    }
}

static void call(ls *handle, uint8_t which)
{
    ls_box_info info;
    uint64_t clock;
    switch (which % 13) {
    case 0:
        try_read(handle, 0);
        break;
    case 1:
        try_read(handle, 2);
        break;
    case 2:
        try_scan(handle);
        break;
    case 3:
        try_nodes(handle);
        break;
    case 4:
        try_watch(handle);
        break;
    case 5:
        try_object_watch(handle);
        break;
    case 6:
        try_node(handle);
        break;
    case 7:
        try_batch(handle);
        break;
    case 8:
        try_get(handle);
        break;
    case 10:
        try_transaction(handle);
        break;
    case 11:
        try_execute(handle);
        break;
    case 12:
        try_explain(handle);
        break;
    default:
        (void)ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("x"), NULL, &clock);
        (void)ls_box_info_get(handle, &info);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_options options = LS_OPTIONS_INIT;
    ls *handle;
    if (url[0] == '\0') {
        start();
    }
    if (size < 1) {
        return 0;
    }
    pthread_mutex_lock(&lock);
    script = bytes_of(data + 1, size - 1);
    pthread_mutex_unlock(&lock);
    options.timeout_ms = TIMEOUT_MS;
    if (ls_open(&handle, url, &options) == 0) {
        call(handle, data[0]);
        ls_close(handle);
    }
    pthread_mutex_lock(&lock);
    script = (ls_bytes){0};
    pthread_mutex_unlock(&lock);
    return 0;
}
