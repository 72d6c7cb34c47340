/* Reads: a get of a key that isn't hot, as `PointReads._look_up` in store/points.py does it, for a value that needs no
   decoding by Python to speak of and no place among the hot ones. At anything else it answers UNSET with nothing done
   that would be done twice, and `_look_up` does it from the beginning.

   A value of bytes that the active memtable has isn't made hot: it is here in less time than that takes, and the next
   put would drop it. */

#include "native.h"

enum { LAYERS, HOT, DECODE, ABSENT, UNSET, OBJECTS };

typedef struct {
    PyObject_HEAD
    PyObject *objects[OBJECTS];
    Form form;
    char keeps_hot;
} Reads;

static struct {
    PyObject *frozen, *tables, *find, *get_below, *asked, *asked_count, *is_full, *newcomers;
} name;

static PyObject *unset(const Reads *reads) { return Py_NewRef(reads->objects[UNSET]); }

/* A value of bytes, as they stand in what was encoded; NULL without an exception if it is another. */
static PyObject *bytes_in(Form form, PyObject *encoded) {
    if (form == FORM_RAW)
        return Py_NewRef(encoded);
    if (form != FORM_CBOR)
        return NULL;
    const unsigned char *data = (const unsigned char *)PyBytes_AsString(encoded);
    size_t size = (size_t)PyBytes_Size(encoded), start = 0;
    uint64_t length = 0;
    if (size >= 1 && data[0] >= 0x40 && data[0] < 0x58) {
        start = 1;
        length = data[0] - 0x40u;
    } else if (size >= 2 && data[0] == 0x58) {
        start = 2;
        length = data[1];
    } else if (size >= 3 && data[0] == 0x59) {
        start = 3;
        length = (uint64_t)data[1] << 8 | data[2];
    } else if (size >= 5 && data[0] == 0x5A) {
        start = 5;
        length = (uint64_t)data[1] << 24 | (uint64_t)data[2] << 16 | (uint64_t)data[3] << 8 | data[4];
    }
    if (!start || length != size - start)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)data + start, (Py_ssize_t)length);
}

/* The value, decoded; NULL without an exception if it can't be. */
static PyObject *decoded(const Reads *reads, PyObject *encoded) {
    PyObject *value = bytes_in(reads->form, encoded);
    if (value || PyErr_Occurred())
        return value;
    value = PyObject_CallFunctionObjArgs(reads->objects[DECODE], encoded, NULL);
    if (!value && PyErr_ExceptionMatches(PyExc_ValueError))
        PyErr_Clear(); /* Python names the key */
    return value;
}

/* What a memtable has of a key, new reference; NULL, maybe with an exception, if nothing. */
static PyObject *in_memtable(PyObject *memtable, PyObject *key) {
    if (!has_fields(memtable, OF_MEMTABLE) || !PyDict_CheckExact(objects_of(memtable)[MEMTABLE_ENTRIES]))
        return NULL;
    return Py_XNewRef(PyDict_GetItemWithError(objects_of(memtable)[MEMTABLE_ENTRIES], key));
}

/* A number that an object has, -1 with an exception. */
static long number_of(PyObject *object, PyObject *attribute) {
    PyObject *found = PyObject_GetAttr(object, attribute);
    long number = found ? PyLong_AsLong(found) : -1;
    Py_XDECREF(found);
    return number;
}

static bool set_number(PyObject *object, PyObject *attribute, long number) {
    PyObject *value = PyLong_FromLong(number);
    bool done = value && PyObject_SetAttr(object, attribute, value) == 0;
    Py_XDECREF(value);
    return done;
}

/* Whether a key gets no place among the hot ones this time: `HotValues.attach` without its consequences, which are
   Python's. -1 with an exception. */
static int stays_cold(const Reads *reads, PyObject *key) {
    if (!reads->keeps_hot || PyTuple_CheckExact(key))
        return 1;
    PyObject *hot = reads->objects[HOT], *asked = PyObject_GetAttr(hot, name.asked);
    Py_hash_t hash = PyObject_Hash(key);
    int verdict = -1;
    if (asked && PyByteArray_CheckExact(asked) && PyByteArray_Size(asked) == ASKED_PLACES && !PyErr_Occurred()) {
        char *place = PyByteArray_AsString(asked) + ((size_t)hash & (ASKED_PLACES - 1));
        if (!*place) {
            long count = number_of(hot, name.asked_count);
            /* When it is time to forget all of them, that is Python's. */
            verdict = count >= 0 && count < ASKED_MAX;
            if (verdict) {
                *place = 1;
                verdict = set_number(hot, name.asked_count, count + 1) ? 1 : -1;
            }
        } else {
            long is_full = number_of(hot, name.is_full), newcomers = is_full > 0 ? number_of(hot, name.newcomers) : 0;
            /* One in so many is Python's, which counts it. */
            verdict = is_full > 0 && (newcomers + 1) % PATIENCE != 0;
            if (verdict && !set_number(hot, name.newcomers, newcomers + 1))
                verdict = -1;
        }
    }
    Py_XDECREF(asked);
    return PyErr_Occurred() ? -1 : verdict < 0 ? 0 : verdict;
}

/* What a table says of a key: the value, None, ABSENT, or UNSET; NULL with an exception. */
static PyObject *in_table(PyObject *table, PyObject *key) {
    PyObject *find = PyObject_GetAttr(table, name.find);
    PyObject *found = find ? PyObject_CallFunctionObjArgs(find, key, NULL) : NULL;
    Py_XDECREF(find);
    return found;
}

/* What frozen memtables and tables say of a key, in this order: the other way round a fold could hide an entry. The
   value, None, ABSENT; NULL with an exception. */
static PyObject *below(const Reads *reads, PyObject *key) {
    PyObject *found = NULL, *frozen = PyObject_GetAttr(reads->objects[LAYERS], name.frozen), *tables = NULL;
    if (frozen && PyTuple_CheckExact(frozen))
        for (Py_ssize_t at = 0; !found && !PyErr_Occurred() && at < PyTuple_Size(frozen); at++)
            found = in_memtable(PyTuple_GetItem(frozen, at), key);
    if (!found && !PyErr_Occurred())
        tables = PyObject_GetAttr(reads->objects[LAYERS], name.tables);
    if (tables && PyTuple_CheckExact(tables))
        for (Py_ssize_t at = 0; (!found || found == reads->objects[ABSENT]) && at < PyTuple_Size(tables); at++) {
            Py_XDECREF(found);
            found = in_table(PyTuple_GetItem(tables, at), key);
            if (!found)
                break;
        }
    if (found == reads->objects[UNSET]) {
        Py_DECREF(found);
        found = PyObject_CallMethodObjArgs(reads->objects[LAYERS], name.get_below, key, NULL);
    }
    Py_XDECREF(tables);
    Py_XDECREF(frozen);
    return found || PyErr_Occurred() ? found : Py_NewRef(reads->objects[ABSENT]);
}

static PyObject *missing(PyObject *key) {
    PyObject *error = PyObject_CallFunctionObjArgs(PyExc_KeyError, key, NULL); /* a tuple is one key */
    if (error)
        PyErr_SetObject(PyExc_KeyError, error);
    Py_XDECREF(error);
    return NULL;
}

/* look_up(key): a copy of the value; UNSET if that takes more. */
static PyObject *look_up(PyObject *self, PyObject *key) {
    Reads *reads = (Reads *)self;
    PyObject *layers = reads->objects[LAYERS];
    PyObject *encoded_key = layers ? key_as_bytes(key) : NULL;
    if (!encoded_key)
        return PyErr_Occurred() ? NULL : Py_XNewRef(reads->objects[UNSET]);
    PyObject *encoded = in_memtable(objects_of(layers)[LAYERS_ACTIVE], encoded_key), *value = NULL;
    if (encoded && PyBytes_CheckExact(encoded))
        value = bytes_in(reads->form, encoded);
    if (!value && !PyErr_Occurred()) {
        int cold = stays_cold(reads, key);
        if (cold == 0)
            value = unset(reads);
        else if (cold > 0) {
            if (!encoded)
                encoded = below(reads, encoded_key);
            if (encoded && PyBytes_CheckExact(encoded)) {
                value = decoded(reads, encoded);
                if (!value && !PyErr_Occurred())
                    value = unset(reads);
            } else if (encoded) {
                value = missing(key);
            }
        }
    }
    Py_XDECREF(encoded);
    Py_DECREF(encoded_key);
    return value;
}

/* Reads(layers, hot, codec, keeps_hot, absent, unset) */
static int initialise(PyObject *self, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    Reads *reads = (Reads *)self;
    PyObject *layers, *hot, *codec, *absent, *unset_value;
    int keeps_hot;
    if (!PyArg_ParseTuple(arguments, "OOOpOO", &layers, &hot, &codec, &keeps_hot, &absent, &unset_value))
        return -1;
    if (reads->objects[LAYERS] || !has_fields(layers, OF_LAYERS)) {
        PyErr_SetString(PyExc_TypeError, "made once, with layers that have fields");
        return -1;
    }
    reads->form = form_of(codec);
    reads->keeps_hot = (char)keeps_hot;
    reads->objects[DECODE] = PyObject_GetAttrString(codec, "decode");
    if (!reads->objects[DECODE])
        return -1;
    reads->objects[HOT] = Py_NewRef(hot);
    reads->objects[ABSENT] = Py_NewRef(absent);
    reads->objects[UNSET] = Py_NewRef(unset_value);
    reads->objects[LAYERS] = Py_NewRef(layers);
    return 0;
}

HOLDS_OBJECTS(Reads)

static PyMethodDef methods[] = {
    {"look_up", look_up, METH_O, "Return a copy of a key's value; UNSET if that takes more."},
    {NULL, NULL, 0, NULL},
};

int add_reads_type(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_doc, "Gets of keys that aren't hot."}, {Py_tp_methods, methods}, {Py_tp_init, (void *)initialise},
        {Py_tp_traverse, (void *)traverse}, {Py_tp_clear, (void *)clear}, {Py_tp_dealloc, (void *)deallocate}, {0, NULL},
    };
    static PyType_Spec spec = {
        "journalkit._speed.Reads", sizeof(Reads), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots,
    };
    static const struct { PyObject **name; const char *text; } names[] = {
        {&name.frozen, "frozen"}, {&name.tables, "tables"}, {&name.find, "_find"}, {&name.get_below, "get_below"},
        {&name.asked, "_asked"}, {&name.asked_count, "_asked_count"}, {&name.is_full, "_is_full"},
        {&name.newcomers, "_newcomers"},
    };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (!(*names[at].name = PyUnicode_InternFromString(names[at].text)))
            return -1;
    PyObject *type = PyType_FromSpec(&spec);
    int failed = type ? PyModule_AddObjectRef(module, "Reads", type) : -1;
    Py_XDECREF(type);
    return failed;
}
