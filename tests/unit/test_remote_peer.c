/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep:// URLs: what each part becomes, and that what is not understood is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/remote_peer.h"
#include "faults.h"

static const ls_options no_options = LS_OPTIONS_INIT;

static void check(const char *url, const char *host, const char *port, const char *user,
                  const char *password)
{
    struct peer peer;
    struct ls_error error = {0};
    int rc = peer_from_url(&peer, url, &no_options, &error);
    if (rc != 0) {
        fail_msg("%s: %s", url, error.text);
    }
    assert_string_equal(peer.host, host);
    assert_string_equal(peer.port, port);
    assert_string_equal(peer.user, user);
    if (password == NULL) {
        assert_null(peer.password);
    } else {
        assert_string_equal(peer.password, password);
    }
    peer_free(&peer);
}

static void a_url_gives_host_port_user_and_password(void **state)
{
    (void)state;
    check("lockstep://localhost", "localhost", "7411", "default", NULL);
    check("lockstep://localhost/", "localhost", "7411", "default", NULL);
    check("lockstep://a-b.example:1", "a-b.example", "1", "default", NULL);
    check("lockstep://10.0.0.1:65535", "10.0.0.1", "65535", "default", NULL);
    check("lockstep://[::1]", "::1", "7411", "default", NULL);
    check("lockstep://[fe80::1%eth0]:99", "fe80::1%eth0", "99", "default", NULL);
    check("lockstep://u:p@h", "h", "7411", "u", "p");
    check("lockstep://:p@h:5", "h", "5", "default", "p");
    check("lockstep://u%3a:p%40%2F@h", "h", "7411", "u:", "p@/");
    check("lockstep://u:p@x@h", "h", "7411", "u", "p@x");
    check("lockstep://u:@h", "h", "7411", "u", "");
}

static void a_url_that_is_not_understood_is_refused_without_its_password(void **state)
{
    static const char *const urls[] = {
        "",
        "lockstep:",
        "lockstep:/h",
        "http://h",
        "lockstep://",
        "lockstep:///",
        "lockstep://:7411",
        "lockstep://h:",
        "lockstep://h:0",
        "lockstep://h:65536",
        "lockstep://h:100000",
        "lockstep://h:7411x",
        "lockstep://h:-1",
        "lockstep://h/path",
        "lockstep://h?x=1",
        "lockstep://h h",
        "lockstep://::1",
        "lockstep://[::1",
        "lockstep://[]",
        "lockstep://[::1]7411",
        "lockstep://secret@h",
        "lockstep://u:secret@",
        "lockstep://u:secret%@h",
        "lockstep://u:secret%4@h",
        "lockstep://u:secret%zz@h",
        "lockstep://u:secret%00@h",
    };
    (void)state;

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct peer peer;
        struct ls_error error = {0};
        int rc = peer_from_url(&peer, urls[i], &no_options, &error);
        if (rc != LS_EINVAL) {
            fail_msg("%s: %d", urls[i], rc);
        }
        assert_int_equal(error.code, LS_EINVAL);
        assert_null(strstr(error.text, "secret"));
    }
}

static void options_win_over_the_url(void **state)
{
    ls_options options = LS_OPTIONS_INIT;
    struct peer peer;
    struct ls_error error;
    (void)state;

    options.user = "other";
    options.password = "word";
    options.client_name = "name";
    options.timeout_ms = 7;
    assert_int_equal(peer_from_url(&peer, "lockstep://u:p@h", &options, &error), 0);
    assert_string_equal(peer.user, "other");
    assert_string_equal(peer.password, "word");
    assert_string_equal(peer.name, "name");
    assert_int_equal(peer.timeout_ms, 7);
    peer_free(&peer);
}

static void parse_once(void *context, long n)
{
    ls_options options = LS_OPTIONS_INIT;
    struct peer peer;
    struct ls_error error = {0};
    (void)context;
    (void)n;

    options.client_name = "name";
    int rc = peer_from_url(&peer, "lockstep://u:p@h:1", &options, &error);
    if (rc == 0) {
        peer_free(&peer);
    } else {
        assert_int_equal(rc, LS_ENOMEM);
        assert_int_equal(error.code, LS_ENOMEM);
    }
}

static void without_memory_a_url_is_not_half_understood(void **state)
{
    (void)state;
    faults_each_allocation(parse_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_gives_host_port_user_and_password),
        cmocka_unit_test(a_url_that_is_not_understood_is_refused_without_its_password),
        cmocka_unit_test(options_win_over_the_url),
        cmocka_unit_test(without_memory_a_url_is_not_half_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
