/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a lockstep:// URL apart. A URL is either understood whole or refused; nothing in it is
 * guessed or ignored. The sentences name the part that is wrong without quoting it, since the part
 * before the @ is a secret.
 */
#include "client/remote_peer.h"

#include <string.h>

#include "base/error.h"

static const char scheme[] = "lockstep://";

static int refuse(struct ls_error *error, const char *why)
{
    return error_set(error, LS_EINVAL, 0,
                     "not a URL of the form lockstep://[user:password@]host[:port]: %s", why);
}

static int keep(struct arena *arena, ls_bytes text, const char **out, struct ls_error *error)
{
    ls_bytes copy;
    if (arena_copy(arena, text, &copy) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    *out = copy.data;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Replaces each %XX of the NUL-terminated text by its byte, in place. false: not hex, or a NUL. */
static bool unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        int high = hex_digit(from[1]);
        int low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || high + low == 0) {
            return false;
        }
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

static int parse_user(struct peer *peer, ls_bytes info, struct ls_error *error)
{
    const char *colon = memchr(info.data, ':', info.size);
    if (colon == NULL) {
        return refuse(error, "before the @ there must be user:password");
    }
    const char *text = info.data;
    size_t user_size = (size_t)(colon - text);
    ls_bytes user;
    ls_bytes password;
    if (arena_copy(&peer->arena, bytes_of(text, user_size), &user) != 0 ||
        arena_copy(&peer->arena, bytes_of(colon + 1, info.size - user_size - 1), &password) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    /* The copies are the peer's own; only their type says const. */
    if (!unescape((char *)(uintptr_t)user.data) || !unescape((char *)(uintptr_t)password.data)) {
        return refuse(error, "a % before the @ must be followed by two hex digits");
    }
    if (user.size > 0) {
        peer->user = user.data;
    }
    peer->password = password.data;
    return 0;
}

static bool is_host_char(char c, bool in_brackets)
{
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || c == '.' || c == '-' || c == '_' ||
           (in_brackets && (c == ':' || c == '%'));
}

static int parse_port(struct peer *peer, ls_bytes port, struct ls_error *error)
{
    const char *digits = port.data;
    uint32_t number = 0;
    if (port.size == 0 || port.size > 5) {
        return refuse(error, "the port must be a number from 1 to 65535");
    }
    for (size_t i = 0; i < port.size; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return refuse(error, "the port must be a number from 1 to 65535");
        }
        number = number * 10 + (uint32_t)(digits[i] - '0');
    }
    if (number == 0 || number > 65535) {
        return refuse(error, "the port must be a number from 1 to 65535");
    }
    return keep(&peer->arena, port, &peer->port, error);
}

static int parse_host(struct peer *peer, ls_bytes text, struct ls_error *error)
{
    const char *at = text.data;
    const char *end = at + text.size;
    bool in_brackets = text.size > 0 && *at == '[';
    const char *host = at + in_brackets;
    const char *host_end = host;

    while (host_end < end && is_host_char(*host_end, in_brackets)) {
        host_end++;
    }
    const char *after = host_end;
    if (in_brackets) {
        if (after == end || *after != ']') {
            return refuse(error, "the [ of an IPv6 address is not closed");
        }
        after++;
    }
    if (host_end == host) {
        return refuse(error, "the host is missing");
    }
    int rc = keep(&peer->arena, bytes_of(host, (size_t)(host_end - host)), &peer->host, error);
    if (rc != 0 || after == end) {
        return rc;
    }
    if (*after != ':') {
        return refuse(error, "there is something after the host that is not a port");
    }
    after++;
    if (!in_brackets && memchr(after, ':', (size_t)(end - after)) != NULL) {
        return refuse(error, "an IPv6 address must stand in brackets");
    }
    return parse_port(peer, bytes_of(after, (size_t)(end - after)), error);
}

static int parse_url(struct peer *peer, const char *url, struct ls_error *error)
{
    size_t scheme_size = sizeof scheme - 1;
    if (strncmp(url, scheme, scheme_size) != 0) {
        return refuse(error, "it does not begin with lockstep://");
    }
    const char *at = url + scheme_size;
    size_t size = strlen(at);
    if (size > 0 && at[size - 1] == '/') {
        size--; /* the empty path */
    }
    const char *sign = memrchr(at, '@', size);
    if (sign != NULL) {
        int rc = parse_user(peer, bytes_of(at, (size_t)(sign - at)), error);
        if (rc != 0) {
            return rc;
        }
        size -= (size_t)(sign + 1 - at);
        at = sign + 1;
    }
    return parse_host(peer, bytes_of(at, size), error);
}

static int take_options(struct peer *peer, const ls_options *options, struct ls_error *error)
{
    int rc = 0;
    if (options->user != NULL) {
        rc = keep(&peer->arena, bytes_of_text(options->user), &peer->user, error);
    }
    if (rc == 0 && options->password != NULL) {
        rc = keep(&peer->arena, bytes_of_text(options->password), &peer->password, error);
    }
    if (rc == 0 && options->client_name != NULL) {
        rc = keep(&peer->arena, bytes_of_text(options->client_name), &peer->name, error);
    }
    if (options->timeout_ms > 0) {
        peer->timeout_ms = options->timeout_ms;
    }
    return rc;
}

int peer_from_url(struct peer *out, const char *url, const ls_options *options,
                  struct ls_error *error)
{
    struct peer peer = {
        .port = PEER_PORT_DEFAULT,
        .user = "default",
        .timeout_ms = PEER_TIMEOUT_MS_DEFAULT,
    };

    int rc = parse_url(&peer, url, error);
    if (rc == 0) {
        rc = take_options(&peer, options, error);
    }
    if (rc != 0) {
        peer_free(&peer);
        return rc;
    }
    *out = peer;
    return 0;
}

void peer_free(struct peer *peer)
{
    arena_free(&peer->arena);
    *peer = (struct peer){0};
}
