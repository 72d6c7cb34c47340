/* The lane: a put that is alone and meets nothing out of the ordinary, from key and value to its LSN, durable or not.

   It is what `Store.put`, `Log.append`, `LogWriter.write_single` and `Layers.apply_one` do for such a record, and
   tests/unit/store/test_lane.py holds it to them. At anything else it returns None with nothing done, and they do it.

   Nobody interrupts it: the interpreter delivers signals and other threads' exceptions between instructions of Python,
   and here are none, from the check that nobody leads to the record's end. The log's leadership is held all the same,
   since the write lets other threads run. `writer.single` is this lane from the moment at which the record has an
   LSN: whoever finds it there can take it apart, as the tuple that `write_single` notes. If the write fails the
   record is carried on by `LogWriter.resume_single`, in Python, with leadership held. That an fsync failed is noted in
   its `SyncAttempts` before anything of Python runs, so no later one is believed.

   Between taking the leadership and giving it back nothing is allocated that the cyclic collector tracks: a collection
   runs finalizers, and one that writes to this store would wait for itself. */

#include "native.h"

#include <errno.h>
#include <stddef.h>
#include <structmember.h>
#include <time.h>

/* What it was given, all kept as long as it lives; then what is under way. DURABLE is None if nobody waits for an
   fsync. */
enum {
    LOG, WRITER, SEGMENTS, LAYERS, QUEUE, ACQUIRE, AT_ONCE, RELEASE, IS_CHANGING, STR_KEYS, BYTE_KEYS, INT_KEYS, ENCODE,
    DURABLE, TAKE_TURN, END_TURN, KEY, VALUE, OBJECTS,
};

#define SHORT_BYTES 1024

typedef struct {
    PyObject_HEAD
    PyObject *objects[OBJECTS];
    Form form;
    uint64_t lsn, durable_lsn;
    int64_t time_us, start_bytes;
    uint32_t salt;
    SlotHead slot;
} Lane;

/* Whether a call without arguments says yes; -1 with an exception. */
static int says(PyObject *function) {
    PyObject *told = PyObject_CallNoArgs(function);
    int verdict = told ? PyObject_IsTrue(told) : -1;
    Py_XDECREF(told);
    return verdict;
}

/* Header and payload of the record under way. */
static void frame_of(const Lane *lane, unsigned char *at, size_t payload_bytes, uint32_t *sum) {
    PyObject *key = lane->objects[KEY], *value = lane->objects[VALUE];
    unsigned char *payload = at + FRAME_HEADER_BYTES;
    size_t key_bytes = (size_t)PyBytes_Size(key), value_bytes = (size_t)PyBytes_Size(value);
    store16(payload, (uint16_t)key_bytes);
    store32(payload + 2, (uint32_t)value_bytes);
    memcpy(payload + ENTRY_HEADER_BYTES, PyBytes_AsString(key), key_bytes);
    memcpy(payload + ENTRY_HEADER_BYTES + key_bytes, PyBytes_AsString(value), value_bytes);
    frame_header(at, payload, payload_bytes, lane->lsn, lane->time_us, lane->durable_lsn, KIND_BATCH,
                 lane->salt + (uint32_t)lane->start_bytes, sum);
}

static size_t payload_bytes_of(PyObject *key, PyObject *value) {
    return ENTRY_HEADER_BYTES + (size_t)PyBytes_Size(key) + (size_t)PyBytes_Size(value);
}

/* Drop the hot value of a key, which stands there as the program gives it. False with an exception. */
static bool drop_hot(const Lane *lane, PyObject *key) {
    PyObject *slots = lane->objects[PyUnicode_CheckExact(key) ? STR_KEYS : PyBytes_CheckExact(key) ? BYTE_KEYS : INT_KEYS];
    if (PyTuple_CheckExact(key) || PyDict_Size(slots) == 0)
        return true;
    if (!PyDict_GetItemWithError(slots, key))
        return !PyErr_Occurred();
    return PyDict_DelItem(slots, key) == 0;
}

/* Make the record visible, all at once for every other thread: `Layers.apply_one`. False, maybe with an exception, if
   that is for Python to do, from the beginning. */
static bool apply(const Lane *lane, PyObject *key, size_t payload_bytes) {
    PyObject *layers = lane->objects[LAYERS];
    if (says(lane->objects[IS_CHANGING]) != 0 || is_none(objects_of(layers)[LAYERS_UNFOLDED_SINCE]))
        return false;
    PyObject *active = objects_of(layers)[LAYERS_ACTIVE];
    if (!has_fields(active, OF_MEMTABLE) || !PyDict_CheckExact(objects_of(active)[MEMTABLE_ENTRIES])
        || !drop_hot(lane, key)
        || PyDict_SetItem(objects_of(active)[MEMTABLE_ENTRIES], lane->objects[KEY], lane->objects[VALUE]) < 0)
        return false;
    numbers_of(active)[MEMTABLE_LAST_LSN] = (int64_t)lane->lsn;
    numbers_of(active)[MEMTABLE_PAYLOAD_BYTES] += (int64_t)payload_bytes;
    return true;
}

static void forget(Lane *lane) {
    Py_CLEAR(lane->objects[KEY]);
    Py_CLEAR(lane->objects[VALUE]);
}

/* Carry the record on in Python, still leading; `error` is the write's errno, 0 if it succeeded or was short. */
static PyObject *resume(const Lane *lane, int error, bool is_written) {
    PyErr_Clear();
    PyObject *failure = Py_NewRef(Py_None), *lsn = NULL;
    if (error) {
        Py_DECREF(failure);
        failure = PyObject_CallFunction(PyExc_OSError, "is", error, strerror(error));
    }
    PyObject *me = PyLong_FromUnsignedLong(PyThread_get_thread_ident()), *nobody = PyLong_FromLong(0);
    if (failure && me && nobody && PyObject_SetAttrString(lane->objects[LOG], "_leader", me) == 0) {
        lsn = PyObject_CallMethod(lane->objects[WRITER], "resume_single", "OO", failure,
                                  is_written ? Py_True : Py_False);
        PyObject *kind, *value, *trace;
        PyErr_Fetch(&kind, &value, &trace);
        PyObject_SetAttrString(lane->objects[LOG], "_leader", nobody);
        PyErr_Restore(kind, value, trace);
    }
    Py_XDECREF(failure);
    Py_XDECREF(me);
    Py_XDECREF(nobody);
    return lsn;
}

/* The record is placed: write it, have it durable if it has to be, make it visible, note that it is done. */
static PyObject *carry_out(Lane *lane, PyObject *key, const Target *target, PyObject *lsn) {
    PyObject *writer = lane->objects[WRITER], *segment = target->segment;
    bool is_durable = target->slot_descriptor >= 0;
    size_t payload_bytes = payload_bytes_of(lane->objects[KEY], lane->objects[VALUE]);
    size_t size = FRAME_HEADER_BYTES + payload_bytes;
    unsigned char short_frame[SHORT_BYTES], *frame = size <= SHORT_BYTES ? short_frame : PyMem_Malloc(size);
    if (!frame)
        return resume(lane, 0, false);
    uint32_t sum;
    frame_of(lane, frame, payload_bytes, &sum);
    Write write = {.data = frame, .size = size, .offset_bytes = lane->start_bytes};
    unsigned char slot[SLOT_BYTES];
    if (is_durable) {
        slot_of(slot, &lane->slot, (uint64_t)lane->start_bytes + size, lane->lsn);
        write.slot = slot;
    }
    Written outcome = write_record(&write, target->descriptor, target->slot_descriptor);
    if (frame != short_frame)
        PyMem_Free(frame);
    if (outcome.sync_errno)
        numbers_of(objects_of(segment)[SEGMENT_ATTEMPTS])[ATTEMPTS_FAILED_ERRNO] = outcome.sync_errno;
    bool is_written = outcome.taken == (ssize_t)size;
    if (!is_written || outcome.sync_errno || outcome.slot_errno || !apply(lane, key, payload_bytes))
        return resume(lane, outcome.write_errno, is_written);
    numbers_of(segment)[SEGMENT_LAST_CHECKSUM] = sum;
    numbers_of(segment)[SEGMENT_END] += (int64_t)size;
    numbers_of(writer)[LOG_LAST_LSN] = (int64_t)lane->lsn;
    if (is_durable) {
        numbers_of(writer)[LOG_DURABLE_LSN] = (int64_t)lane->lsn;
        numbers_of(writer)[LOG_SYNCS]++;
    }
    numbers_of(writer)[LOG_GROUPS]++;
    numbers_of(writer)[LOG_BYTES_APPENDED] += (int64_t)size;
    PyObject *done = objects_of(writer)[LOG_SINGLE];
    objects_of(writer)[LOG_SINGLE] = Py_NewRef(Py_None);
    Py_XDECREF(done);
    return Py_NewRef(lsn);
}

/* Whether a lock was free and is ours now. */
static bool take(PyObject *acquire, PyObject *at_once) {
    PyObject *told = PyObject_Call(acquire, at_once, NULL);
    bool taken = told == Py_True;
    Py_XDECREF(told);
    return taken;
}

/* The value in bytes; NULL, maybe with an exception, if it isn't for us. Where Python encodes other threads may run, so
   that is done as at the gate: by one thread at a time. */
static PyObject *encoded_value(const Lane *lane, PyObject *value) {
    PyObject *made = value_at_once(lane->form, value);
    if (made || PyErr_Occurred() || !take(lane->objects[TAKE_TURN], lane->objects[AT_ONCE]))
        return made;
    made = value_as_bytes(FORM_OTHER, lane->objects[ENCODE], value);
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    Py_XDECREF(PyObject_CallNoArgs(lane->objects[END_TURN]));
    PyErr_Restore(kind, error, trace);
    return made;
}

/* Take the leadership if nobody has it. Looking before wouldn't do: who waits for the interpreter may have the lock
   already, and look as if he had not. */
static bool take_leadership(const Lane *lane) {
    return take(lane->objects[ACQUIRE], lane->objects[AT_ONCE]);
}

static void give_leadership_back(const Lane *lane) {
    Py_XDECREF(PyObject_CallNoArgs(lane->objects[RELEASE]));
}

/* Lead for this one record. */
static PyObject *lead(Lane *lane, PyObject *key, const Target *target, PyObject *lsn) {
    PyObject *writer = lane->objects[WRITER];
    PyObject *nothing = objects_of(writer)[LOG_SINGLE];
    objects_of(writer)[LOG_SINGLE] = Py_NewRef((PyObject *)lane);
    Py_XDECREF(nothing);
    size_t size = FRAME_HEADER_BYTES + payload_bytes_of(lane->objects[KEY], lane->objects[VALUE]);
    numbers_of(target->segment)[SEGMENT_UNSURE_UNTIL] = lane->start_bytes + (int64_t)size;
    PyObject *outcome = carry_out(lane, key, target, lsn);
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    /* An interrupted record is somebody else's now, and what it is made of with it. */
    if (objects_of(writer)[LOG_SINGLE] != (PyObject *)lane)
        forget(lane);
    give_leadership_back(lane);
    PyErr_Restore(kind, value, trace);
    return outcome;
}

/* After the record: complete what an interrupt left, wake who came meanwhile. */
static PyObject *hand_over(const Lane *lane, PyObject *outcome) {
    PyObject *kind, *value, *trace, *told = NULL;
    PyErr_Fetch(&kind, &value, &trace);
    if (!outcome)
        told = PyObject_CallMethod(lane->objects[LOG], "_complete", NULL);
    else if (PyObject_Size(lane->objects[QUEUE]) > 0)
        told = PyObject_CallMethod(lane->objects[LOG], "_wake_next", NULL);
    Py_XDECREF(told);
    if (PyErr_Occurred()) {
        Py_XDECREF(kind);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        Py_CLEAR(outcome);
    } else {
        PyErr_Restore(kind, value, trace);
    }
    return outcome;
}

/* Whether all is ordinary and nobody else is here, asked with the leadership in hand. */
static bool is_ordinary(const Lane *lane, const Target *target, int64_t end) {
    PyObject *writer = lane->objects[WRITER], *segments = lane->objects[SEGMENTS];
    return PyObject_Size(lane->objects[QUEUE]) == 0 && is_current(target, segments, &lane->slot)
        && is_none(objects_of(segments)[SUCCESSION_ROTATION])
        && is_none(objects_of(writer)[LOG_SINGLE]) && is_none(objects_of(writer)[LOG_GROUP])
        && is_none(objects_of(writer)[LOG_FAILED])
        && !is_none(objects_of(lane->objects[LAYERS])[LAYERS_UNFOLDED_SINCE])
        && end <= numbers_of(target->segment)[SEGMENT_READY_UNTIL]
        && numbers_of(target->segment)[SEGMENT_END] < numbers_of(segments)[SUCCESSION_ROTATE_AT];
}

/* Give the record its place if all is ordinary, and carry it out. Py_None, maybe with an exception, if not. */
static PyObject *place(Lane *lane, PyObject *key, PyObject *encoded_key, PyObject *encoded, const Target *target) {
    PyObject *writer = lane->objects[WRITER], *outcome = NULL, *lsn = NULL;
    bool leads = take_leadership(lane);
    int64_t start = numbers_of(target->segment)[SEGMENT_END];
    if (!leads
        || !is_ordinary(lane, target, start + FRAME_HEADER_BYTES + (int64_t)payload_bytes_of(encoded_key, encoded)))
        goto unlike;
    uint64_t last_lsn = (uint64_t)numbers_of(writer)[LOG_LAST_LSN];
    lsn = PyLong_FromUnsignedLongLong(last_lsn + 1);
    struct timespec now;
    if (PyErr_Occurred() || !lsn || last_lsn == UINT64_MAX || clock_gettime(CLOCK_REALTIME, &now) != 0)
        goto unlike;
    lane->salt = target->salt;
    lane->lsn = last_lsn + 1;
    lane->durable_lsn = (uint64_t)numbers_of(writer)[LOG_DURABLE_LSN];
    lane->time_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    lane->start_bytes = start;
    forget(lane);
    lane->objects[KEY] = Py_NewRef(encoded_key);
    lane->objects[VALUE] = Py_NewRef(encoded);
    outcome = hand_over(lane, lead(lane, key, target, lsn));
    goto done;
unlike:
    if (leads)
        give_leadership_back(lane);
    outcome = Py_NewRef(Py_None);
done:
    Py_XDECREF(lsn);
    return outcome;
}

/* put(key, value): the record's LSN; None if it isn't for the lane, and nothing was done. */
static PyObject *put(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    Lane *lane = (Lane *)self;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "put takes a key and a value");
        return NULL;
    }
    if (!lane->objects[LOG] || PyObject_Size(lane->objects[QUEUE]) != 0)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    /* What runs Python first, but for the value: once that is encoded nobody comes in between. */
    Target target;
    PyObject *encoded_key = NULL, *encoded = NULL, *outcome = NULL;
    if (find_target(&target, lane->objects[LOG], lane->objects[SEGMENTS], lane->objects[DURABLE], &lane->slot))
        encoded_key = key_as_bytes(arguments[0]);
    if (encoded_key)
        encoded = encoded_value(lane, arguments[1]);
    if (encoded && PyBytes_Size(encoded) <= PAYLOAD_BYTES_MAX - KEY_BYTES_MAX - ENTRY_HEADER_BYTES)
        outcome = place(lane, arguments[0], encoded_key, encoded, &target);
    else if (!PyErr_Occurred())
        outcome = Py_NewRef(Py_None);
    if (PyErr_Occurred())
        Py_CLEAR(outcome);
    Py_XDECREF(encoded);
    Py_XDECREF(encoded_key);
    let_go(&target);
    return outcome;
}

/* What `write_single` would have noted: payload, kind, mutations, durability, frame, its offset, LSN. */
static PyObject *iterate(PyObject *self) {
    Lane *lane = (Lane *)self;
    PyObject *key = lane->objects[KEY], *value = lane->objects[VALUE], *note = NULL;
    if (!key || !value) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is under way");
        return NULL;
    }
    size_t payload_bytes = payload_bytes_of(key, value);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(FRAME_HEADER_BYTES + payload_bytes));
    if (frame) {
        char *at = PyBytes_AsString(frame);
        uint32_t sum;
        frame_of(lane, (unsigned char *)at, payload_bytes, &sum);
        PyObject *durable = lane->objects[DURABLE] != Py_None ? Py_True : Py_False;
        note = Py_BuildValue("(y#i((OO))ONLK)", at + FRAME_HEADER_BYTES, (Py_ssize_t)payload_bytes, KIND_BATCH, key,
                             value, durable, frame, (long long)lane->start_bytes, (unsigned long long)lane->lsn);
    }
    PyObject *iterator = note ? PyObject_GetIter(note) : NULL;
    Py_XDECREF(note);
    return iterator;
}

/* Lane(log, writer, segments, layers, queue, leadership, layers_lock, str_keys, byte_keys, int_keys, codec, durable,
   turn) */
static int initialise(PyObject *self, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    Lane *lane = (Lane *)self;
    PyObject *log, *writer, *segments, *layers, *queue, *leadership, *lock, *str_keys, *byte_keys, *int_keys, *codec;
    PyObject *durable, *turn;
    if (lane->objects[LOG]) {
        PyErr_SetString(PyExc_TypeError, "a lane is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(arguments, "OOOOOOOO!O!O!OOO", &log, &writer, &segments, &layers, &queue, &leadership, &lock,
                          &PyDict_Type, &str_keys, &PyDict_Type, &byte_keys, &PyDict_Type, &int_keys, &codec,
                          &durable, &turn))
        return -1;
    if (!has_fields(writer, OF_LOG) || !has_fields(segments, OF_SUCCESSION) || !has_fields(layers, OF_LAYERS)) {
        PyErr_SetString(PyExc_TypeError, "these have no fields");
        return -1;
    }
    PyObject *const given[] = {
        [WRITER] = Py_NewRef(writer), [SEGMENTS] = Py_NewRef(segments), [LAYERS] = Py_NewRef(layers),
        [QUEUE] = Py_NewRef(queue), [ACQUIRE] = PyObject_GetAttrString(leadership, "acquire"),
        [AT_ONCE] = PyTuple_Pack(1, Py_False), [RELEASE] = PyObject_GetAttrString(leadership, "release"),
        [IS_CHANGING] = PyObject_GetAttrString(lock, "locked"), [STR_KEYS] = Py_NewRef(str_keys),
        [BYTE_KEYS] = Py_NewRef(byte_keys), [INT_KEYS] = Py_NewRef(int_keys),
        [ENCODE] = PyObject_GetAttrString(codec, "encode"), [DURABLE] = Py_NewRef(durable),
        [TAKE_TURN] = PyObject_GetAttrString(turn, "acquire"), [END_TURN] = PyObject_GetAttrString(turn, "release"),
    };
    memcpy(lane->objects, given, sizeof given);
    lane->form = form_of(codec);
    if (PyErr_Occurred())
        return -1;
    lane->objects[LOG] = Py_NewRef(log);
    return 0;
}

HOLDS_OBJECTS(Lane)

static PyMethodDef methods[] = {
    {"put", (PyCFunction)(void (*)(void))put, METH_FASTCALL, "Set a key and return the LSN; None if nothing was done."},
    {NULL, NULL, 0, NULL},
};

int add_lane_type(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_doc, "A put that is alone."}, {Py_tp_methods, methods}, {Py_tp_init, (void *)initialise},
        {Py_tp_iter, (void *)iterate}, {Py_tp_traverse, (void *)traverse}, {Py_tp_clear, (void *)clear},
        {Py_tp_dealloc, (void *)deallocate}, {0, NULL},
    };
    static PyType_Spec spec = {
        "journalkit._speed.Lane", sizeof(Lane), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots,
    };
    if (add_target_names() < 0)
        return -1;
    PyObject *type = PyType_FromSpec(&spec);
    int failed = type ? PyModule_AddObjectRef(module, "Lane", type) : -1;
    Py_XDECREF(type);
    return failed;
}
