/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: a change puts or deletes the record and appends the message that tells of it, under one
 * clock. What a node owns is found again through an index under C, so that the end of a node costs
 * what it owned and no scan.
 */
#include <assert.h>

#include "base/error.h"
#include "codec/clock.h"
#include "coordinator/layout.h"
#include "coordinator/state.h"

/* An object as it is stored, without its value: what is needed after a put took the bytes away. */
struct stored {
    struct key key;
    bool there;
    uint64_t created;
    uint64_t modified;
    uint8_t owner_size;
    char owner[KEY_HOST_SIZE_MAX];
};

static int stored_get(struct coordinator *c, ls_bytes name, struct stored *out,
                      struct ls_error *error)
{
    struct object object;
    ls_bytes value;
    int rc = key_object(&out->key, name, error);
    if (rc < 0) {
        return rc;
    }
    out->there = false;
    out->modified = 0;
    out->owner_size = 0;
    rc = state_get(c, &out->key, &value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc < 0) {
        return error_code(error, rc);
    }
    rc = object_decode(&object, value, error);
    if (rc < 0) {
        return rc;
    }
    if (object.owner.size > sizeof(out->owner)) {
        return error_set(error, LS_ERECORD, 0, "the owner of the object is no host name");
    }
    out->there = true;
    out->created = object.created;
    out->modified = object.modified;
    out->owner_size = (uint8_t)object.owner.size;
    if (object.owner.size > 0) {
        memcpy(out->owner, object.owner.data, object.owner.size);
    }
    return 0;
}

static ls_bytes stored_owner(const struct stored *stored)
{
    return bytes_of(stored->owner, stored->owner_size);
}

static int conflict(const struct stored *stored, struct ls_error *error)
{
    return error_set(error, LS_ECONFLICT, stored->modified, "modified=%llu",
                     (unsigned long long)stored->modified);
}

/* Makes the index agree with a change of owner; an owner of size 0 is none. */
static int index_move(struct coordinator *c, const struct stored *stored, ls_bytes name,
                      ls_bytes owner, uint64_t created, struct ls_error *error)
{
    struct key key;
    int rc = 0;
    if (bytes_equal(stored_owner(stored), owner)) {
        return 0;
    }
    if (stored->owner_size > 0) {
        owned_key(&key, stored_owner(stored), stored->created);
        rc = state_del(c, &key, error);
        rc = rc == LS_ENOTFOUND ? 0 : rc;
    }
    if (rc == 0 && owner.size > 0) {
        owned_key(&key, owner, created);
        c->record.size = 0;
        rc = owned_encode(&c->record, name, key_bytes(&key));
        rc = rc < 0 ? error_code(error, rc)
                    : state_put(c, &key, buf_bytes(&c->record), false, error);
    }
    return rc;
}

/* Puts under a fresh clock. Everything was checked. */
static int change_put(struct coordinator *c, const struct stored *stored, ls_bytes name,
                      ls_bytes value, const struct binding *as, bool owned, uint64_t *clock,
                      struct ls_error *error)
{
    int rc = clock_tick(&c->now.clock, 1, error);
    if (rc < 0) {
        return rc;
    }
    struct object object = {.value = value,
                            .created = stored->there ? stored->created : c->now.clock,
                            .modified = c->now.clock};
    if (owned) {
        object.owner = binding_host(as);
    }
    *clock = c->now.clock;
    c->value.size = 0;
    rc = object_encode(&c->value, &object, key_bytes(&stored->key));
    if (rc < 0) {
        return error_code(error, rc);
    }
    rc = state_put(c, &stored->key, buf_bytes(&c->value), false, error);
    if (rc == 0) {
        rc = index_move(c, stored, name, object.owner, object.created, error);
    }
    if (rc == 0) {
        rc = state_tell(c, &stored->key, &c->value, stored->modified, as, object.modified, error);
    }
    return rc;
}

/* Deletes, under a fresh clock, what is there. */
static int change_del(struct coordinator *c, const struct stored *stored, ls_bytes name,
                      const struct binding *as, uint64_t *clock, struct ls_error *error)
{
    int rc = clock_tick(&c->now.clock, 1, error);
    if (rc == 0) {
        *clock = c->now.clock;
        rc = state_del(c, &stored->key, error);
    }
    if (rc == 0) {
        rc = index_move(c, stored, name, bytes_of(NULL, 0), 0, error);
    }
    if (rc == 0) {
        rc = state_tell(c, &stored->key, NULL, stored->modified, as, *clock, error);
    }
    return rc;
}

/* Whoever names a node must be one. */
static int check_as(struct coordinator *c, struct request *request, bool needed)
{
    if (request->as != NULL) {
        return node_verify(c, request->as, request->error);
    }
    if (needed) {
        return error_set(request->error, LS_ENOTJOINED, 0, "an owned object needs a joined node");
    }
    return 0;
}

int object_put(struct coordinator *c, struct request *request)
{
    struct ls_error *error = request->error;
    struct stored stored;
    int rc = check_as(c, request, request->in.put.owned);
    if (rc == 0) {
        rc = stored_get(c, request->in.put.key, &stored, error);
    }
    if (rc < 0) {
        return rc;
    }
    if ((request->in.put.has_if && request->in.put.modified != stored.modified) ||
        (request->in.put.nx && stored.there) || (request->in.put.xx && !stored.there)) {
        return conflict(&stored, error);
    }
    rc = state_room(c, STORE_ROOM_ADD, request_weight(request), error);
    if (rc < 0) {
        return rc;
    }
    return change_put(c, &stored, request->in.put.key, request->in.put.value, request->as,
                      request->in.put.owned, &request->clock, error);
}

int object_del(struct coordinator *c, struct request *request)
{
    struct ls_error *error = request->error;
    struct stored stored;
    request->clock = 0;
    int rc = check_as(c, request, false);
    if (rc == 0) {
        rc = stored_get(c, request->in.del.key, &stored, error);
    }
    if (rc < 0) {
        return rc;
    }
    if (request->in.del.has_if && request->in.del.modified != stored.modified) {
        return conflict(&stored, error);
    }
    if (!stored.there) {
        return 0;
    }
    rc = state_room(c, STORE_ROOM_DELETE, request_weight(request), error);
    if (rc < 0) {
        return rc;
    }
    return change_del(c, &stored, request->in.del.key, request->as, &request->clock, error);
}

/* Keys in error replies: bytes that are not plain ASCII are written as \xHH. */
static void printable(char *out, size_t size, ls_bytes key)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = key.data;
    size_t at = 0;
    for (size_t i = 0; i < key.size && at + 5 < size; i++) {
        if (bytes[i] > ' ' && bytes[i] < 0x7f && bytes[i] != '\\') {
            out[at++] = (char)bytes[i];
        } else {
            out[at++] = '\\';
            out[at++] = 'x';
            out[at++] = digits[bytes[i] >> 4];
            out[at++] = digits[bytes[i] & 15];
        }
    }
    out[at] = '\0';
}

static int txn_check(struct coordinator *c, struct request *request, bool *adds)
{
    struct stored stored;
    *adds = false;
    for (size_t i = 0; i < request->in.txn.condition_count; i++) {
        const struct object_condition *condition = &request->in.txn.conditions[i];
        int rc = stored_get(c, condition->key, &stored, request->error);
        if (rc < 0) {
            return rc;
        }
        if (stored.modified != condition->modified) {
            char text[160];
            printable(text, sizeof(text), condition->key);
            return error_set(request->error, LS_ECONFLICT, stored.modified, "%s modified=%llu",
                             text, (unsigned long long)stored.modified);
        }
    }
    for (size_t i = 0; i < request->in.txn.operation_count; i++) {
        const struct object_operation *operation = &request->in.txn.operations[i];
        int rc = key_object(&stored.key, operation->key, request->error);
        if (rc < 0) {
            return rc;
        }
        *adds = *adds || !operation->del;
    }
    return 0;
}

int object_txn(struct coordinator *c, struct request *request)
{
    struct ls_error *error = request->error;
    bool adds;
    int rc = check_as(c, request, false);
    if (rc == 0) {
        rc = txn_check(c, request, &adds);
    }
    if (rc == 0) {
        rc = state_room(c, adds ? STORE_ROOM_ADD : STORE_ROOM_DELETE, request_weight(request),
                        error);
    }
    request->clock = 0;
    for (size_t i = 0; rc == 0 && i < request->in.txn.operation_count; i++) {
        struct object_operation *operation = &request->in.txn.operations[i];
        struct stored stored;
        operation->clock = 0;
        rc = stored_get(c, operation->key, &stored, error);
        if (rc == 0 && !operation->del) {
            rc = change_put(c, &stored, operation->key, operation->value, request->as, false,
                            &operation->clock, error);
        } else if (rc == 0 && stored.there) {
            rc = change_del(c, &stored, operation->key, request->as, &operation->clock, error);
        }
        if (operation->clock != 0) {
            request->clock = operation->clock;
        }
    }
    return rc;
}

int objects_disown(struct coordinator *c, ls_bytes host, struct ls_error *error)
{
    const struct store_driver *driver = c->store->driver;
    struct key prefix, end;
    owned_prefix(&prefix, host);
    end = prefix;
    bool bounded = key_after_prefix(&end);
    assert(bounded);
    for (;;) {
        /* From the start each time: deleting an object deletes its index entry. */
        struct store_cursor *cursor;
        struct stored stored;
        ls_bytes key, record, name;
        uint8_t copy[KEY_OBJECT_SIZE_MAX];
        uint64_t clock;
        int rc = driver->scan(c->txn, key_bytes(&prefix), key_bytes(&end), false, &cursor, error);
        if (rc < 0) {
            return rc;
        }
        rc = driver->next(cursor, &key, &record, error);
        int decoded = rc > 0 ? owned_decode(&name, record, error) : 0;
        if (rc > 0 && decoded == 0) {
            if (name.size > sizeof(copy)) {
                decoded = error_set(error, LS_ERECORD, 0, "an index key is too long");
            } else {
                memcpy(copy, name.data, name.size);
                name.data = copy;
            }
        }
        driver->scan_end(cursor);
        if (rc <= 0 || decoded < 0) {
            return rc < 0 ? rc : decoded;
        }
        rc = state_room(c, STORE_ROOM_DELETE, name.size + 512, error);
        if (rc == 0) {
            rc = stored_get(c, name, &stored, error);
        }
        if (rc == 0 && !stored.there) {
            rc = error_set(error, LS_ECORRUPT, 0, "an owned object is missing");
        }
        if (rc == 0) {
            rc = change_del(c, &stored, name, NULL, &clock, error);
        }
        if (rc < 0) {
            return rc;
        }
    }
}
