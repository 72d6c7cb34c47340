/* Where a record goes: the active segment and, if it has to be durable, the slot beside it.

   The slot is the twin of `DurableEncoder` in format/segment.py, which makes the part that stays the same. */

#include "native.h"

enum { END_BYTES_AT = SLOT_HEAD_BYTES, LSN_AT = END_BYTES_AT + 8, CHECKSUM_AT = LSN_AT + 8 };

static PyObject *name_pwrite, *name_sync_data, *name_active, *name_salt, *name_number, *name_file, *name_crowd;

/* A number that an object has; 0 and false, maybe with an exception, if it hasn't. */
static bool number_of(PyObject *object, PyObject *name, uint64_t *number) {
    PyObject *found = PyObject_GetAttr(object, name);
    *number = found && PyLong_Check(found) ? PyLong_AsUnsignedLongLong(found) : 0;
    bool is_there = found && PyLong_Check(found) && !PyErr_Occurred();
    Py_XDECREF(found);
    return is_there;
}

/* The descriptor that a file's `pwrite` of ours writes to, -1 if it isn't ours. `pwrite` keeps it open. */
static int descriptor_of(PyObject *file, PyObject **pwrite) {
    /* For each record anew: a closed file has another function. */
    *pwrite = PyObject_GetAttr(file, name_pwrite);
    PyObject *descriptor = *pwrite ? written_to_by(*pwrite) : NULL;
    return descriptor ? (int)PyLong_AsLong(descriptor) : -1;
}

static bool learn_head(SlotHead *slot, PyObject *durable, uint64_t segment) {
    PyObject *head = PyObject_CallMethod(durable, "head", "K", (unsigned long long)segment);
    bool fits = head && PyBytes_CheckExact(head) && PyBytes_Size(head) == SLOT_HEAD_BYTES;
    if (fits) {
        memcpy(slot->head, PyBytes_AsString(head), SLOT_HEAD_BYTES);
        slot->head_checksum = checksum(slot->head, SLOT_HEAD_BYTES, 0);
        slot->segment = segment;
    } else if (head) {
        PyErr_SetString(PyExc_TypeError, "a slot's head is bytes of its length");
    }
    Py_XDECREF(head);
    return fits;
}

/* Nobody comes back for a group, the slot is ours, and the segment is synced as we do it. */
static bool can_be_durable(Target *target, PyObject *log, PyObject *durable, SlotHead *slot) {
    uint64_t crowd;
    if (!number_of(log, name_crowd, &crowd) || crowd > 1
        || !has_fields(objects_of(target->segment)[SEGMENT_ATTEMPTS], OF_ATTEMPTS))
        return false;
    PyObject *sync_data = PyObject_GetAttr(objects_of(target->segment)[SEGMENT_FILE], name_sync_data);
    bool is_ours = sync_data && synced_by(sync_data);
    Py_XDECREF(sync_data);
    if (!is_ours || (slot->segment != target->number && !learn_head(slot, durable, target->number)))
        return false;
    PyObject *file = PyObject_GetAttr(durable, name_file);
    if (file)
        target->slot_descriptor = descriptor_of(file, &target->slot_pwrite);
    Py_XDECREF(file);
    return target->slot_descriptor >= 0;
}

bool find_target(Target *target, PyObject *log, PyObject *segments, PyObject *durable, SlotHead *slot) {
    *target = (Target){.position = Py_NewRef(objects_of(segments)[SUCCESSION_POSITION])};
    target->descriptor = target->slot_descriptor = -1;
    target->segment = PyObject_GetAttr(target->position, name_active);
    if (!has_fields(target->segment, OF_SEGMENT))
        return false;
    PyObject *entry = objects_of(target->segment)[SEGMENT_ENTRY];
    uint64_t salt;
    target->descriptor = descriptor_of(objects_of(target->segment)[SEGMENT_FILE], &target->pwrite);
    if (target->descriptor < 0 || !number_of(entry, name_salt, &salt) || !number_of(entry, name_number, &target->number))
        return false;
    target->salt = (uint32_t)salt;
    return durable == Py_None || can_be_durable(target, log, durable, slot);
}

void let_go(Target *target) {
    Py_XDECREF(target->position);
    Py_XDECREF(target->segment);
    Py_XDECREF(target->pwrite);
    Py_XDECREF(target->slot_pwrite);
}

bool is_current(const Target *target, PyObject *segments, const SlotHead *slot) {
    if (objects_of(segments)[SUCCESSION_POSITION] != target->position)
        return false;
    PyObject *attempts = objects_of(target->segment)[SEGMENT_ATTEMPTS];
    return target->slot_descriptor < 0
        || (slot->segment == target->number && numbers_of(attempts)[ATTEMPTS_FAILED_ERRNO] == 0);
}

void slot_of(unsigned char *at, const SlotHead *slot, uint64_t end_bytes, uint64_t lsn) {
    memcpy(at, slot->head, SLOT_HEAD_BYTES);
    store64(at + END_BYTES_AT, end_bytes);
    store64(at + LSN_AT, lsn);
    store32(at + CHECKSUM_AT, checksum(at + END_BYTES_AT, CHECKSUM_AT - END_BYTES_AT, slot->head_checksum));
}

int add_target_names(void) {
    static const struct { PyObject **name; const char *text; } names[] = {
        {&name_pwrite, "pwrite"}, {&name_sync_data, "sync_data"}, {&name_active, "active"}, {&name_salt, "salt"},
        {&name_number, "number"}, {&name_file, "file"}, {&name_crowd, "_crowd"},
    };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (!(*names[at].name = PyUnicode_InternFromString(names[at].text)))
            return -1;
    return 0;
}
