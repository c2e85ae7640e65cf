/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report's data as JSON, within the page that draws it. Clocks may be near 2^64 and the page's
 * numbers are doubles: an integer above 2^53 goes as text, and samples go as what their clock is
 * above the least of all. Whatever text the filler gives, no "<" of it is left in the page.
 */
#include "model/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "codec/json.h"
#include "model/report_page.h"

#define EXACT_MAX (UINT64_C(1) << 53) /* integers up to here are exact as doubles */

struct writer {
    const struct report *report;
    FILE *out;
    struct buf text;
    uint64_t base; /* subtracted from the clocks of samples */
    int rc;        /* of the first failure */
};

/* ---- JSON ---- */

static void put(struct writer *writer, const char *text)
{
    if (writer->rc == 0) {
        writer->rc = buf_append_text(&writer->text, text);
    }
}

static void put_number(struct writer *writer, uint64_t number)
{
    const char *format = number <= EXACT_MAX ? "%" PRIu64 : "\"%" PRIu64 "\"";
    char text[24];
    int size = snprintf(text, sizeof(text), format, number);
    assert(size > 0 && (size_t)size < sizeof(text));
    put(writer, text);
}

/* "<" as an escape, so that no text can end the element that holds the data. */
static void put_text(struct writer *writer, ls_bytes text)
{
    struct buf string = {0};
    if (writer->rc == 0) {
        writer->rc = json_put_string(&string, text);
    }
    for (size_t i = 0; i < string.size && writer->rc == 0; i++) {
        writer->rc = string.data[i] == '<' ? buf_append_text(&writer->text, "\\u003c")
                                           : buf_append_byte(&writer->text, string.data[i]);
    }
    buf_free(&string);
}

static void put_name(struct writer *writer, const char *name)
{
    put(writer, "\"");
    put(writer, name);
    put(writer, "\":");
}

static void put_field(struct writer *writer, const char *name, uint64_t number)
{
    put_name(writer, name);
    put_number(writer, number);
    put(writer, ",");
}

static void put_text_field(struct writer *writer, const char *name, ls_bytes text)
{
    put_name(writer, name);
    put_text(writer, text);
    put(writer, ",");
}

static void put_node_number(struct writer *writer, uint32_t node)
{
    if (node == REPORT_NO_NODE) {
        put(writer, "-1");
    } else {
        assert(node < writer->report->nodes_count);
        put_number(writer, node);
    }
}

/* What has gathered goes out. */
static void flush(struct writer *writer)
{
    if (writer->rc == 0 && writer->text.size > 0) {
        fwrite(writer->text.data, 1, writer->text.size, writer->out);
        writer->text.size = 0;
    }
}

/* ---- the parts of a report ---- */

static void put_header(struct writer *writer)
{
    const struct report *report = writer->report;
    put_text_field(writer, "source",
                   bytes_of_text(report->source == REPORT_OF_BOX ? "box" : "model"));
    put_text_field(writer, "title", report->title);
    put_text_field(writer, "interrupted", report->interrupted);
    put_name(writer, "parameters");
    for (size_t i = 0; i < report->parameters_count; i++) {
        put(writer, i == 0 ? "[[" : ",[");
        put_text(writer, report->parameters[i].name);
        put(writer, ",");
        put_text(writer, report->parameters[i].value);
        put(writer, "]");
    }
    put(writer, report->parameters_count > 0 ? "],\"notes\":[" : "[],\"notes\":[");
    for (size_t i = 0; i < report->notes_count; i++) {
        put(writer, i == 0 ? "" : ",");
        put_text(writer, report->notes[i]);
    }
    put(writer, "],");
    put_field(writer, "start_ms", report->start_ns / 1000000);
    put_field(writer, "duration", report->duration_ns);
    put_text_field(writer, "ideal_rate", report->ideal_rate);
    put_name(writer, "fastest");
    put_node_number(writer, report->fastest);
    put(writer, ",");
    put_field(writer, "nodes_total", report->nodes_total);
    put_field(writer, "events_total", report->events_total);
    put_field(writer, "base", writer->base);
}

/* One column of the samples, as a list. */
static void put_column(struct writer *writer, const char *name, const struct report_node *node,
                       size_t offset, uint64_t base)
{
    put_name(writer, name);
    put(writer, "[");
    for (size_t i = 0; i < node->samples_count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&node->samples[i] + offset, sizeof(value));
        put(writer, i == 0 ? "" : ",");
        put_number(writer, value - base);
    }
    put(writer, "],");
}

/* The classes that are not empty: the least jump, the greatest, the count. */
static void put_jumps(struct writer *writer, const uint64_t *jumps)
{
    bool first = true;
    put(writer, "\"jumps\":[");
    for (size_t i = 0; jumps != NULL && i < REPORT_JUMPS; i++) {
        if (jumps[i] == 0) {
            continue;
        }
        put(writer, first ? "[" : ",[");
        put_number(writer, report_jump_floor(i));
        put(writer, ",");
        put_number(writer, i + 1 < REPORT_JUMPS ? report_jump_floor(i + 1) - 1 : UINT64_MAX);
        put(writer, ",");
        put_number(writer, jumps[i]);
        put(writer, "]");
        first = false;
    }
    put(writer, "]");
}

static void put_drift(struct writer *writer, int64_t drift)
{
    put_name(writer, "drift");
    put(writer, "\"");
    put(writer, drift < 0 ? "-" : "");
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, drift < 0 ? 0 - (uint64_t)drift : (uint64_t)drift);
    put(writer, text);
    put(writer, "\",");
}

static void put_node(struct writer *writer, const struct report_node *node)
{
    put(writer, "{");
    put_text_field(writer, "name", node->name);
    put_text_field(writer, "rate", node->rate);
    put_field(writer, "ticks", node->ticks);
    put_field(writer, "internal", node->internal);
    put_field(writer, "sent", node->sent);
    put_field(writer, "received", node->received);
    put_field(writer, "final_clock", node->final_clock);
    put_field(writer, "max_jump", node->max_jump);
    put_text_field(writer, "mean_jump", node->mean_jump);
    put_field(writer, "max_queue", node->max_queue);
    put_text_field(writer, "mean_queue", node->mean_queue);
    put_drift(writer, node->drift);
    put_column(writer, "time", node, offsetof(struct report_sample, time_ns), 0);
    put_column(writer, "clock", node, offsetof(struct report_sample, clock), writer->base);
    put_column(writer, "queue", node, offsetof(struct report_sample, queue), 0);
    put_jumps(writer, node->jumps);
    put(writer, "}");
}

static void put_event(struct writer *writer, const struct report_event *event)
{
    static const char *const kinds[] = {
        [REPORT_INTERNAL] = "internal",       [REPORT_SEND_ONE] = "send-one",
        [REPORT_SEND_SECOND] = "send-second", [REPORT_BROADCAST] = "broadcast",
        [REPORT_RECEIVE] = "receive",         [REPORT_MESSAGE] = "message",
        [REPORT_ADDRESSED] = "addressed",
    };
    const uint64_t numbers[] = {event->seq, event->time_ns, event->clock, event->message};
    put(writer, "[\"");
    put(writer, kinds[event->kind]);
    put(writer, "\",");
    put_node_number(writer, event->node);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        put(writer, ",");
        put_number(writer, numbers[i]);
    }
    put(writer, ",");
    put_node_number(writer, event->peer);
    put(writer, ",");
    put_number(writer, event->peer_clock);
    put(writer, ",");
    put_text(writer, bytes_of_text(event->label != NULL ? event->label : ""));
    put(writer, "]");
}

static void put_report(struct writer *writer)
{
    const struct report *report = writer->report;
    put(writer, "{");
    put_header(writer);
    put(writer, "\"nodes\":[");
    for (size_t i = 0; i < report->nodes_count; i++) {
        put(writer, i == 0 ? "\n" : ",\n");
        put_node(writer, &report->nodes[i]);
        flush(writer);
    }
    put(writer, "],\n\"events\":[");
    for (size_t i = 0; i < report->events_count; i++) {
        put(writer, i == 0 ? "\n" : ",\n");
        put_event(writer, &report->events[i]);
        flush(writer);
    }
    put(writer, "]}\n");
    flush(writer);
}

/* ---- the page ---- */

static void check_bounds(const struct report *report)
{
    assert(report->nodes_count <= REPORT_NODES_MAX);
    assert(report->nodes_total >= report->nodes_count);
    assert(report->events_count <= REPORT_EVENTS_MAX);
    assert(report->events_total >= report->events_count);
    assert(report->notes_count <= REPORT_NOTES_MAX);
    assert(report->parameters_count <= REPORT_PARAMETERS_MAX);
    for (size_t i = 0; i < report->nodes_count; i++) {
        assert(report->nodes[i].samples_count <= report_samples_max(report->nodes_count));
    }
}

/* The least clock of all samples where one is too great for a double, else 0. */
static uint64_t clock_base(const struct report *report)
{
    uint64_t least = UINT64_MAX;
    uint64_t greatest = 0;
    for (size_t i = 0; i < report->nodes_count; i++) {
        const struct report_node *node = &report->nodes[i];
        for (size_t j = 0; j < node->samples_count; j++) {
            uint64_t clock = node->samples[j].clock;
            least = clock < least ? clock : least;
            greatest = clock > greatest ? clock : greatest;
        }
    }
    return greatest > EXACT_MAX ? least : 0;
}

int report_write(const struct report *report, FILE *out, struct ls_error *error)
{
    struct writer writer = {.report = report, .out = out};
    check_bounds(report);
    writer.base = clock_base(report);
    errno = 0;
    fwrite(report_page_before, 1, report_page_before_size, out);
    put_report(&writer);
    buf_free(&writer.text);
    if (writer.rc != 0) {
        return error_code(error, writer.rc);
    }
    fwrite(report_page_after, 1, report_page_after_size, out);
    if (fflush(out) != 0 || ferror(out)) {
        int code = errno == ENOSPC || errno == EDQUOT ? LS_ENOSPACE : LS_EIO;
        return error_set(error, code, 0, "the report cannot be written: %s", strerror(errno));
    }
    return 0;
}
