/* What the tests of a store's directory share: one that goes with the test, the paths in it, and
 * children. A child process tells its result by its exit code, since an assertion in it would end
 * the wrong test. */
#ifndef LS_TESTS_STORE_DIRECTORY_FIXTURE_H
#define LS_TESTS_STORE_DIRECTORY_FIXTURE_H

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

struct fixture {
    char scratch[SCRATCH_SIZE];
    char directory[SCRATCH_SIZE + 16];
};

static inline int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    scratch_make(fixture->scratch);
    snprintf(fixture->directory, sizeof fixture->directory, "%s/store", fixture->scratch);
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    scratch_remove(fixture->scratch);
    free(fixture);
    return 0;
}

static inline const char *directory_of(void **state)
{
    return ((struct fixture *)*state)->directory;
}

static inline int open_store(struct store **out, const char *directory, struct ls_error *error)
{
    struct store_options options = {.create = true};
    return store_open(out, directory, &options, error);
}

static inline struct store *opened_with(const char *directory, struct store_options options)
{
    struct ls_error error = {0};
    struct store *store = NULL;
    assert_ok(store_open(&store, directory, &options, &error));
    return store;
}

static inline void file_path(char out[2 * SCRATCH_SIZE], const char *directory, const char *name)
{
    snprintf(out, 2 * SCRATCH_SIZE, "%s/%s", directory, name);
}

static inline void write_at(const char *path, off_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, offset), (ssize_t)size);
    close(fd);
}

/* A fork whose child does not outlive a test that fails. */
static inline pid_t new_child(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return child;
}

/* Ends a child, by way of another program: at an ordinary end valgrind would count as leaks what it
 * has of its parent and no longer points to. */
static inline _Noreturn void child_exit(int code)
{
    char line[32];
    snprintf(line, sizeof line, "exit %d", code);
    execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(127);
}

/* Waits for a child and returns its exit code, or 1000 and the signal that ended it. */
static inline int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
