/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs of servers, as the library and the command-line tool take them apart. What is refused
 * changes nothing; what the library takes, put together again, says the same; and the tool reads
 * the same from it.
 */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "check.h"
#include "cli/talk.h"
#include "client/remote_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        CHECK(buf_printf(out, "%%%02x", (unsigned)(unsigned char)*text) == 0);
    }
}

static void put_url(struct buf *out, const struct peer *peer)
{
    bool is_ipv6 = strpbrk(peer->host, ":%") != NULL;
    CHECK(buf_append_text(out, "lockstep://") == 0);
    if (peer->password != NULL) {
        put_escaped(out, peer->user);
        CHECK(buf_append_byte(out, ':') == 0);
        put_escaped(out, peer->password);
        CHECK(buf_append_byte(out, '@') == 0);
    }
    CHECK(buf_printf(out, "%s%s%s:%s", is_ipv6 ? "[" : "", peer->host, is_ipv6 ? "]" : "",
                     peer->port) == 0);
    CHECK(buf_append_byte(out, '\0') == 0);
}

static void check_taken(const struct peer *peer, const char *url)
{
    const ls_options options = LS_OPTIONS_INIT;
    struct endpoint endpoint;
    struct ls_error error;
    struct peer again;
    struct buf text = {0};
    put_url(&text, peer);
    CHECK(peer_from_url(&again, (const char *)text.data, &options, &error) == 0);
    CHECK(strcmp(peer->host, again.host) == 0 && strcmp(peer->port, again.port) == 0);
    CHECK(strcmp(peer->user, again.user) == 0);
    CHECK((peer->password == NULL) == (again.password == NULL));
    CHECK(peer->password == NULL || strcmp(peer->password, again.password) == 0);
    CHECK(endpoint_parse(&endpoint, url, &error) == 0 && !endpoint.redis);
    CHECK(strcmp(endpoint.peer.host, peer->host) == 0);
    CHECK(strcmp(endpoint.peer.port, peer->port) == 0);
    CHECK((peer->password == NULL) == (endpoint.peer.password == NULL));
    endpoint_free(&endpoint);
    peer_free(&again);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ls_options options = LS_OPTIONS_INIT;
    struct ls_error error = {0};
    struct endpoint endpoint;
    struct peer peer = {0};
    const struct peer untouched = {0};
    char *url = strndup((const char *)data, size);
    CHECK(url != NULL);
    int rc = peer_from_url(&peer, url, &options, &error);
    if (rc == 0) {
        check_taken(&peer, url);
    } else {
        CHECK(rc == LS_EINVAL && error.code == rc && error.text[0] != '\0');
        CHECK(memcmp(&peer, &untouched, sizeof peer) == 0);
    }
    peer_free(&peer);
    rc = endpoint_parse(&endpoint, url, &error);
    CHECK(rc == 0 || (rc == LS_EINVAL && error.code == rc));
    if (rc == 0) {
        CHECK(endpoint.peer.host[0] != '\0' && endpoint.peer.port[0] != '\0');
        endpoint_free(&endpoint);
    }
    free(url);
    return 0;
}
