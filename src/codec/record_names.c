/* SPDX-License-Identifier: Apache-2.0 */
/* The words for what records hold as letters and numbers. Types and events match in either case. */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
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

/* Whether the text is the letter or the word, in either case. */
static inline bool means(ls_bytes text, char letter, const char *word)
{
    return text.size == 1 ? ascii_lower(*(const uint8_t *)text.data) == ascii_lower((uint8_t)letter)
                          : bytes_are_word(text, word);
}

int message_type_from_text(ls_bytes text)
{
    return means(text, 'U', "user")         ? 'U'
           : means(text, 'O', "object")     ? 'O'
           : means(text, 'D', "database")   ? 'D'
           : means(text, 'C', "collection") ? 'C'
                                            : -1;
}

int message_event_from_text(ls_bytes text, uint8_t type)
{
    if (type == 'U' && text.size == 1) {
        uint8_t byte = *(const uint8_t *)text.data;
        return byte == '-' ? 0 : byte;
    }
    return means(text, 'C', "created")   ? 'C'
           : means(text, 'U', "updated") ? 'U'
           : means(text, 'D', "deleted") ? 'D'
                                         : -1;
}
