/* SPDX-License-Identifier: Apache-2.0 */
/* The words for what records hold as letters and numbers. Types and events match in either case. */
#include <assert.h>
#include <string.h>

#include "codec/record.h"

static const char *const state_names[] = {
    [NODE_UP] = "up",
    [NODE_LEAVING] = "leaving",
    [NODE_DOWN] = "down",
};

const char *node_state_name(enum node_state state)
{
    assert(state >= NODE_UP && state <= NODE_DOWN);
    return state_names[state];
}

int node_state_from_name(ls_bytes name)
{
    for (int state = NODE_UP; state <= NODE_DOWN; state++) {
        if (bytes_equal(name, bytes_of_text(state_names[state]))) {
            return state;
        }
    }
    return -1;
}

struct letter {
    const char *word;
    uint8_t letter;
};

static uint8_t ascii_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 'a' - 'A') : byte;
}

static bool equal_without_case(ls_bytes text, const char *word)
{
    const uint8_t *at = text.data;
    if (text.size != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (ascii_lower(at[i]) != (uint8_t)word[i]) {
            return false;
        }
    }
    return true;
}

/* The letter that the text is, or is the word of; -1 for neither. Words are in lower case. */
static int find_letter(ls_bytes text, const struct letter *letters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char letter[] = {(char)ascii_lower(letters[i].letter), '\0'};
        if (equal_without_case(text, letters[i].word) || equal_without_case(text, letter)) {
            return letters[i].letter;
        }
    }
    return -1;
}

int message_type_from_text(ls_bytes text)
{
    static const struct letter types[] = {
        {"object", 'O'}, {"database", 'D'}, {"collection", 'C'}, {"user", 'U'}};
    return find_letter(text, types, sizeof types / sizeof types[0]);
}

int message_event_from_text(ls_bytes text, uint8_t type)
{
    static const struct letter events[] = {{"created", 'C'}, {"updated", 'U'}, {"deleted", 'D'}};
    if (type == 'U' && text.size == 1) {
        uint8_t byte = *(const uint8_t *)text.data;
        return byte == '-' ? 0 : byte;
    }
    return find_letter(text, events, sizeof events / sizeof events[0]);
}
