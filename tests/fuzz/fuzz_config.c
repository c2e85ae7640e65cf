/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the server: the input is a config file, or, where its first byte is odd, command-line
 * flags with a line feed between each. What is refused has a sentence; what is taken is within its
 * limits, and written out as a file it is read again as the same settings.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FLAGS_MAX 16

static int read_as_file(struct config *config, ls_bytes text, struct ls_error *error)
{
    char path[32];
    int fd = memfd_create("config", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, text.data, text.size) == (ssize_t)text.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = config_read_file(config, path, error);
    close(fd);
    return rc;
}

/* --config would read whatever file the input names, and is not tried. */
static int read_as_flags(struct config *config, ls_bytes text, struct ls_error *error)
{
    char *copy = strndup(text.data, text.size);
    CHECK(copy != NULL);
    char *argv[FLAGS_MAX + 2] = {"lockstepd"};
    int argc = 1;
    char *rest = copy;
    for (char *word; argc <= FLAGS_MAX && (word = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(word, "--config", 8) != 0) {
            argv[argc++] = word;
        }
    }
    int rc = config_read_flags(config, argc, argv, error);
    free(copy);
    return rc;
}

static void write_all(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < setting_count; i++) {
        CHECK(buf_printf(out, "%s \"", settings[i].name) == 0);
        CHECK(config_get(config, &settings[i], out) == 0);
        CHECK(buf_append_text(out, "\"\n") == 0);
    }
}

static void check_limits(const struct config *config)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        CHECK(setting_find(bytes_of_text(setting->name)) == setting);
        if (setting->type >= SETTING_NUMBER) {
            uint64_t value;
            memcpy(&value, (const char *)config + setting->offset, sizeof value);
            CHECK(value >= setting->min && value <= setting->max);
        }
    }
}

/* A text with a line feed, which only a flag can hold, cannot stand in a file; nor can a list that
 * has grown longer than one value may be. */
static bool fits_file(const struct config *config)
{
    const char *texts[] = {config->listen, config->store, config->password};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strchr(texts[i], '\n') != NULL || strlen(texts[i]) >= 4096) {
            return false;
        }
    }
    return true;
}

static void check_round_trip(const struct config *config)
{
    struct config again;
    struct ls_error error;
    struct buf first = {0};
    struct buf second = {0};
    CHECK(config_init(&again) == 0);
    write_all(config, &first);
    CHECK(read_as_file(&again, buf_bytes(&first), &error) == 0);
    write_all(&again, &second);
    CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    buf_free(&first);
    buf_free(&second);
    config_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct config config;
    struct ls_error error = {0};
    ls_bytes text = bytes_of(data + 1, size - 1);
    CHECK(config_init(&config) == 0);
    int rc = data[0] % 2 == 1 ? read_as_flags(&config, text, &error)
                              : read_as_file(&config, text, &error);
    CHECK(rc == 0 || (rc == LS_EINVAL && error.code == rc && error.text[0] != '\0'));
    CHECK(rc != 0 || data[0] % 2 == 1 || text.size == 0 || memchr(text.data, 0, text.size) == NULL);
    check_limits(&config);
    if (fits_file(&config)) {
        check_round_trip(&config);
    }
    config_free(&config);
    return 0;
}
