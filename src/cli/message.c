/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message as read and watch print it. The payload is shown as JSON; the object of an O message,
 * which holds a key and a record of the store, as what they say: the object's key and value, or the
 * node and its state.
 */
#include "cli/message.h"

#include <inttypes.h>

#include "codec/json.h"
#include "codec/key.h"
#include "codec/record.h"
#include "codec/uuid.h"

const char *message_type_word(uint8_t type)
{
    switch (type) {
    case LS_OBJECT:
        return "object";
    case LS_DATABASE:
        return "database";
    case LS_COLLECTION:
        return "collection";
    case LS_USER:
        return "user";
    default:
        return NULL;
    }
}

const char *message_event_word(uint8_t event)
{
    switch (event) {
    case LS_CREATED:
        return "created";
    case LS_UPDATED:
        return "updated";
    case LS_DELETED:
        return "deleted";
    default:
        return NULL;
    }
}

/* What an O message tells. */
struct told {
    struct key_parts key;
    struct change change;
    struct object object; /* category O, has_value */
    struct node node;     /* category N, has_value */
};

static bool decode_told(struct told *out, const ls_message *message)
{
    if (message->type != LS_OBJECT || change_decode(&out->change, message->object, NULL) != 0 ||
        key_decode(&out->key, out->change.key, NULL) != 0) {
        return false;
    }
    if (out->key.category != KEY_OBJECT && out->key.category != KEY_NODE) {
        return false;
    }
    if (!out->change.has_value) {
        return true;
    }
    return out->key.category == KEY_OBJECT
               ? object_decode(&out->object, out->change.value, NULL) == 0
               : node_decode(&out->node, out->change.value, NULL) == 0;
}

static void told_json(struct json *json, const struct told *told)
{
    char id[UUID_TEXT_SIZE];
    json_open(json, "object");
    if (told->key.category == KEY_OBJECT) {
        json_bytes(json, "key", told->key.name);
        if (told->change.has_value) {
            json_bytes(json, "value", told->object.value);
            if (told->object.owner.size > 0) {
                json_bytes(json, "owner", told->object.owner);
            }
        }
    } else {
        json_bytes(json, "node", told->key.name);
        if (told->change.has_value) {
            uuid_format(id, told->node.id);
            json_text(json, "state", node_state_name(told->node.state));
            json_text(json, "id", id);
            json_number(json, "joined", told->node.joined);
            json_number(json, "clock", told->node.clock);
        }
    }
    if (told->change.previous > 0) {
        json_number(json, "previous", told->change.previous);
    }
    json_close(json);
}

/* One character; a byte that is not ASCII as the Latin-1 character of its number. */
static void event_json(struct json *json, uint8_t event)
{
    char text[3] = {(char)event, '\0', '\0'};
    if (event == LS_NO_EVENT) {
        text[0] = '-';
    } else if (event >= 0x80) {
        text[0] = (char)(0xc0 | event >> 6);
        text[1] = (char)(0x80 | (event & 0x3f));
    }
    json_text(json, "event", text);
}

static int print_json(struct message_printer *printer, const ls_message *message)
{
    struct json *json = &printer->json;
    struct told told;
    char type[2] = {message->type, '\0'};
    json_number(json, "clock", message->clock);
    json_text(json, "type", type);
    event_json(json, (uint8_t)message->event);
    json_number(json, "timestamp", message->timestamp_ns);
    json_bytes(json, "from", message->from);
    json_bytes(json, "to", message->to);
    if (decode_told(&told, message)) {
        told_json(json, &told);
    } else {
        struct ls_error error;
        printer->scratch.size = 0;
        if (json_from_cbor(&printer->scratch, message->object, &error) != 0) {
            return cli_fail("the payload of message %" PRIu64 ": %s", message->clock, error.text);
        }
        json_raw(json, "object", buf_bytes(&printer->scratch));
    }
    return json_print(json);
}

/* ---- for people ---- */

static int show_told(struct buf *out, const struct told *told)
{
    bool node = told->key.category == KEY_NODE;
    int rc = buf_append_text(out, node ? "node " : "");
    rc = rc != 0 ? rc : show_bytes(out, told->key.name);
    if (rc != 0 || !told->change.has_value) {
        return rc;
    }
    if (node) {
        return buf_printf(out, " %s", node_state_name(told->node.state));
    }
    rc = buf_append_text(out, " = ");
    rc = rc != 0 ? rc : show_bytes(out, told->object.value);
    if (rc == 0 && told->object.owner.size > 0) {
        rc = buf_append_text(out, " owned by ");
        rc = rc != 0 ? rc : show_bytes(out, told->object.owner);
    }
    return rc;
}

static int show_payload(struct buf *out, const ls_message *message)
{
    struct told told;
    struct ls_error error;
    if (decode_told(&told, message)) {
        return show_told(out, &told);
    }
    size_t before = out->size;
    int rc = json_from_cbor(out, message->object, &error);
    if (rc == LS_EBADCBOR) {
        out->size = before;
        rc = show_bytes(out, message->object);
    }
    return rc;
}

void message_words(char out[MESSAGE_WORDS_SIZE], const ls_message *message)
{
    const char *type = message_type_word((uint8_t)message->type);
    const char *event = message_event_word((uint8_t)message->event);
    uint8_t letter = (uint8_t)message->event;
    if (type == NULL) {
        type = "unknown";
    }
    if (letter == LS_NO_EVENT) {
        snprintf(out, MESSAGE_WORDS_SIZE, "%s", type);
    } else if (event != NULL) {
        snprintf(out, MESSAGE_WORDS_SIZE, "%s.%s", type, event);
    } else if (letter > 0x20 && letter < 0x7f) {
        snprintf(out, MESSAGE_WORDS_SIZE, "%s.%c", type, letter);
    } else {
        snprintf(out, MESSAGE_WORDS_SIZE, "%s.0x%02x", type, letter);
    }
}

static enum colour type_colour(char type)
{
    switch (type) {
    case LS_OBJECT:
        return COLOUR_CYAN;
    case LS_DATABASE:
    case LS_COLLECTION:
        return COLOUR_YELLOW;
    default:
        return COLOUR_GREEN;
    }
}

static int print_text(struct message_printer *printer, const ls_message *message)
{
    const struct cli *cli = printer->cli;
    struct buf *out = &printer->scratch;
    char time[SHOW_TIME_SIZE];
    char words[MESSAGE_WORDS_SIZE];
    show_time(time, message->timestamp_ns);
    message_words(words, message);

    out->size = 0;
    const char *plain = cli_colour(cli, COLOUR_NONE);
    int rc = buf_printf(out, "%s%8" PRIu64 "%s  %s%s%s  %s%-18s%s  ", cli_colour(cli, COLOUR_BOLD),
                        message->clock, plain, cli_colour(cli, COLOUR_DIM), time, plain,
                        cli_colour(cli, type_colour(message->type)), words, plain);
    rc = rc != 0 ? rc : show_bytes(out, message->from.size > 0 ? message->from : bytes_of("-", 1));
    rc = rc != 0 ? rc : buf_append_text(out, " -> ");
    rc = rc != 0 ? rc : show_bytes(out, message->to.size > 0 ? message->to : bytes_of("*", 1));
    rc = rc != 0 ? rc : buf_append_text(out, "  ");
    rc = rc != 0 ? rc : show_payload(out, message);
    rc = rc != 0 ? rc : buf_append_byte(out, '\n');
    if (rc != 0) {
        return cli_fail("%s", ls_strerror(rc));
    }
    fwrite(out->data, 1, out->size, stdout);
    return EXIT_OK;
}

int message_print(struct message_printer *printer, const ls_message *message)
{
    return printer->cli->json ? print_json(printer, message) : print_text(printer, message);
}

void message_printer_free(struct message_printer *printer)
{
    buf_free(&printer->scratch);
    buf_free(&printer->json.text);
}
