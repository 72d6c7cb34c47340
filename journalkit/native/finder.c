/* The finder: single keys of one table, as `Table.get` in snapshot/reader.py finds them, as long as that takes no more
   than the cache and one read of a block. At anything else, damage above all, it answers UNSET with nothing done, and
   `get` does it from the beginning.

   A block that is read for one key is read into room on the stack, checked and searched there, and made an object only
   if the cache wants it: of sixteen KiB that pass through the processor's caches most are never asked for again. */

#include "native.h"

#include <stddef.h>
#include <structmember.h>

enum { ROOT, SLOTS, TABLE_ID, CACHE, SOURCE, ABSENT, UNSET, OBJECTS };

#define READ_BYTES_MAX (32 * 1024)

typedef struct {
    PyObject_HEAD
    PyObject *objects[OBJECTS];
    long long filtered_reads;
    uint32_t salt;
    char reads, is_filtered;
} Finder;

static struct {
    PyObject *firsts, *lasts, *offsets, *lengths, *entry_counts, *starts, *level, *block, *read_since, *hits, *file,
        *read_at, *wants, *put;
} name;

/* A number of a column; -1 with an exception. Columns are arrays of numbers below 2^63. */
static long long number_at(PyObject *index, PyObject *column_name, Py_ssize_t at) {
    PyObject *column = PyObject_GetAttr(index, column_name);
    PyObject *item = column ? PySequence_GetItem(column, at) : NULL;
    long long number = item ? PyLong_AsLongLong(item) : -1;
    Py_XDECREF(item);
    Py_XDECREF(column);
    return number;
}

/* An item of a column of keys, borrowed from a list that doesn't change; NULL with an exception. */
static PyObject *key_at(PyObject *index, PyObject *column_name, Py_ssize_t at) {
    PyObject *column = PyObject_GetAttr(index, column_name);
    PyObject *item = column && PyList_Check(column) ? PyList_GetItem(column, at) : NULL;
    Py_XDECREF(column);
    if (!item || !PyBytes_Check(item)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "an index has lists of bytes");
        return NULL;
    }
    return item;
}

static int compare(PyObject *left, PyObject *right) {
    Py_ssize_t left_bytes = PyBytes_Size(left), right_bytes = PyBytes_Size(right);
    int order = memcmp(PyBytes_AsString(left), PyBytes_AsString(right),
                       (size_t)(left_bytes < right_bytes ? left_bytes : right_bytes));
    return order ? order : (left_bytes > right_bytes) - (left_bytes < right_bytes);
}

/* How many of a list of keys aren't above this one; -1 with an exception. */
static Py_ssize_t bisect_right(PyObject *index, PyObject *key) {
    PyObject *firsts = PyObject_GetAttr(index, name.firsts);
    if (!firsts || !PyList_Check(firsts)) {
        Py_XDECREF(firsts);
        return -1;
    }
    Py_ssize_t low = 0, high = PyList_Size(firsts);
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        PyObject *first = PyList_GetItem(firsts, middle);
        if (!first || !PyBytes_Check(first)) {
            low = -1;
            break;
        }
        if (compare(key, first) < 0)
            high = middle;
        else
            low = middle + 1;
    }
    Py_DECREF(firsts);
    return low;
}

/* The cache's slot of a block, new reference, marked as read; NULL, maybe with an exception, if there is none. */
static PyObject *slot_at(const Finder *finder, long long place) {
    PyObject *number = PyLong_FromLongLong(place);
    PyObject *key = number ? PyTuple_Pack(2, finder->objects[TABLE_ID], number) : NULL;
    PyObject *slot = key ? PyDict_GetItemWithError(finder->objects[SLOTS], key) : NULL;
    Py_XINCREF(slot);
    Py_XDECREF(key);
    Py_XDECREF(number);
    if (slot && PyObject_SetAttr(slot, name.read_since, Py_True) < 0)
        Py_CLEAR(slot);
    return slot;
}

static bool count_hit(const Finder *finder) {
    PyObject *cache = finder->objects[CACHE], *hits = PyObject_GetAttr(cache, name.hits);
    PyObject *one = hits ? PyLong_FromLong(1) : NULL, *more = one ? PyNumber_Add(hits, one) : NULL;
    bool done = more && PyObject_SetAttr(cache, name.hits, more) == 0;
    Py_XDECREF(more);
    Py_XDECREF(one);
    Py_XDECREF(hits);
    return done;
}

/* What a search came to, as an object. */
static PyObject *answer(const Finder *finder, Found found, const unsigned char *value, size_t value_bytes) {
    switch (found) {
    case FOUND_VALUE:
        return PyBytes_FromStringAndSize((const char *)value, (Py_ssize_t)value_bytes);
    case FOUND_DELETED:
        return Py_NewRef(Py_None);
    case FOUND_NOTHING:
        return Py_NewRef(finder->objects[ABSENT]);
    default:
        return Py_NewRef(finder->objects[UNSET]);
    }
}

static Found search(PyObject *key, const unsigned char *block, size_t size, long long count, const unsigned char **value,
                    size_t *value_bytes) {
    return count < 0 ? FOUND_NONSENSE
                     : search_block(block, size, (uint64_t)count, (const unsigned char *)PyBytes_AsString(key),
                                    (size_t)PyBytes_Size(key), value, value_bytes);
}

static PyObject *find_in_slot(const Finder *finder, PyObject *index, Py_ssize_t at, PyObject *slot, PyObject *key) {
    PyObject *block = PyObject_GetAttr(slot, name.block), *found = NULL;
    const unsigned char *value = NULL;
    size_t value_bytes = 0;
    if (block && PyBytes_CheckExact(block) && count_hit(finder)) {
        Found outcome = search(key, (const unsigned char *)PyBytes_AsString(block), (size_t)PyBytes_Size(block),
                               number_at(index, name.entry_counts, at), &value, &value_bytes);
        found = PyErr_Occurred() ? NULL : answer(finder, outcome, value, value_bytes);
    }
    Py_XDECREF(block);
    return found;
}

/* Whether the block may hold the key as far as the filter says; -1, maybe with an exception, if its page isn't here. */
static int passes(const Finder *finder, PyObject *index, Py_ssize_t at, PyObject *key) {
    if (!finder->is_filtered)
        return 1;
    Py_ssize_t first = at / PAGE_BLOCKS * PAGE_BLOCKS;
    /* A page has its place beside that of the first block it speaks of: `Table._may_hold`. */
    PyObject *slot = slot_at(finder, ~number_at(index, name.offsets, first));
    PyObject *page = slot ? PyObject_GetAttr(slot, name.block) : NULL;
    int verdict = -1;
    if (page && PyBytes_CheckExact(page)) {
        long long start = number_at(index, name.starts, first), low = number_at(index, name.starts, at),
                  high = number_at(index, name.starts, at + 1);
        if (!PyErr_Occurred() && start <= low && low <= high)
            verdict = may_hold((const unsigned char *)PyBytes_AsString(page), (size_t)PyBytes_Size(page),
                               (uint64_t)(low - start), (uint64_t)(high - start),
                               (const unsigned char *)PyBytes_AsString(key), (size_t)PyBytes_Size(key));
    }
    Py_XDECREF(page);
    Py_XDECREF(slot);
    return verdict;
}

/* Offer a block that was read to the cache. False with an exception. */
static bool offer(const Finder *finder, long long offset_bytes, const unsigned char *block, size_t size) {
    PyObject *cache = finder->objects[CACHE];
    PyObject *weight = PyLong_FromSize_t(size + CACHED_BLOCK_BYTES);
    PyObject *told = weight ? PyObject_CallMethodObjArgs(cache, name.wants, weight, NULL) : NULL;
    int is_wanted = told ? PyObject_IsTrue(told) : -1;
    Py_XDECREF(told);
    bool done = is_wanted == 0;
    if (is_wanted > 0) {
        PyObject *offset = PyLong_FromLongLong(offset_bytes);
        PyObject *raw = offset ? PyBytes_FromStringAndSize((const char *)block, (Py_ssize_t)size) : NULL;
        told = raw ? PyObject_CallMethodObjArgs(cache, name.put, finder->objects[TABLE_ID], offset, raw, weight, NULL)
                   : NULL;
        done = told != NULL;
        Py_XDECREF(told);
        Py_XDECREF(raw);
        Py_XDECREF(offset);
    }
    Py_XDECREF(weight);
    return done;
}

/* Read the block at this place and look for the key in it. */
static PyObject *find_in_file(Finder *finder, PyObject *index, Py_ssize_t at, PyObject *key) {
    unsigned char block[READ_BYTES_MAX];
    long long offset_bytes = number_at(index, name.offsets, at), length_bytes = number_at(index, name.lengths, at),
              count = number_at(index, name.entry_counts, at);
    PyObject *first = key_at(index, name.firsts, at), *last = key_at(index, name.lasts, at);
    if (!first || !last || offset_bytes < 0 || count < 0 || length_bytes < 0 || length_bytes > READ_BYTES_MAX)
        return PyErr_Occurred() ? NULL : Py_NewRef(finder->objects[UNSET]);
    PyObject *file = PyObject_GetAttr(finder->objects[SOURCE], name.file);
    PyObject *read_at = file ? PyObject_GetAttr(file, name.read_at) : NULL, *found = NULL;
    PyObject *descriptor = read_at ? read_by(read_at) : NULL;
    const unsigned char *value = NULL;
    size_t value_bytes = 0;
    Found outcome = FOUND_NONSENSE;
    if (!read_at)
        PyErr_Clear(); /* a file that isn't ours has none */
    if (descriptor && read_whole((int)PyLong_AsLong(descriptor), block, (size_t)length_bytes, offset_bytes)
        && is_as_indexed(block, (size_t)length_bytes, first, last, (uint64_t)count, finder->salt + (uint32_t)offset_bytes))
        outcome = search(key, block, (size_t)length_bytes, count, &value, &value_bytes);
    if (outcome == FOUND_NONSENSE || offer(finder, offset_bytes, block, (size_t)length_bytes))
        found = answer(finder, outcome, value, value_bytes);
    if (outcome == FOUND_NOTHING)
        finder->filtered_reads = FILTERED_READS;
    else if (outcome != FOUND_NONSENSE && finder->filtered_reads)
        finder->filtered_reads--;
    Py_XDECREF(read_at);
    Py_XDECREF(file);
    return found;
}

/* find(key): the value, None if it was deleted, ABSENT; UNSET if that takes more. */
static PyObject *find(PyObject *self, PyObject *key) {
    Finder *finder = (Finder *)self;
    PyObject *index = Py_XNewRef(finder->objects[ROOT]), *found = NULL;
    if (!index || !PyBytes_CheckExact(key)) {
        Py_XDECREF(index);
        return Py_XNewRef(finder->objects[UNSET]);
    }
    while (!found) {
        Py_ssize_t at = bisect_right(index, key) - 1;
        if (at < 0) {
            found = at == -1 ? Py_NewRef(finder->objects[ABSENT]) : NULL;
            break;
        }
        PyObject *level = PyObject_GetAttr(index, name.level);
        int is_leaf = level ? PyObject_Not(level) : -1;
        Py_XDECREF(level);
        PyObject *slot = is_leaf < 0 ? NULL : slot_at(finder, number_at(index, name.offsets, at)), *last;
        if (PyErr_Occurred()) {
            Py_XDECREF(slot);
            break;
        }
        if (!is_leaf) {
            PyObject *child = slot ? PyObject_GetAttr(slot, name.block) : NULL;
            if (child) {
                Py_DECREF(index);
                index = child;
            } else if (!PyErr_Occurred()) {
                found = Py_NewRef(finder->objects[UNSET]);
            }
            Py_XDECREF(slot);
            if (PyErr_Occurred())
                break;
            continue;
        }
        if (slot) {
            found = find_in_slot(finder, index, at, slot, key);
            Py_DECREF(slot);
        } else if (!(last = key_at(index, name.lasts, at))) {
            break;
        } else if (compare(key, last) > 0) {
            found = Py_NewRef(finder->objects[ABSENT]);
        } else if (!finder->reads) {
            found = Py_NewRef(finder->objects[UNSET]);
        } else {
            int verdict = finder->filtered_reads ? passes(finder, index, at, key) : 1;
            if (verdict == 0) {
                finder->filtered_reads = FILTERED_READS;
                found = Py_NewRef(finder->objects[ABSENT]);
            } else if (verdict > 0) {
                found = find_in_file(finder, index, at, key);
            } else if (!PyErr_Occurred()) {
                found = Py_NewRef(finder->objects[UNSET]);
            }
        }
        break;
    }
    Py_XDECREF(index);
    if (!found && !PyErr_Occurred())
        found = Py_NewRef(finder->objects[UNSET]);
    return found;
}

/* Finder(root, slots, table_id, cache, source, absent, unset, salt, reads, is_filtered) */
static int initialise(PyObject *self, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    Finder *finder = (Finder *)self;
    PyObject *given[OBJECTS];
    unsigned long long salt;
    int reads, is_filtered;
    if (!PyArg_ParseTuple(arguments, "OO!OOOOOKpp", &given[ROOT], &PyDict_Type, &given[SLOTS], &given[TABLE_ID],
                          &given[CACHE], &given[SOURCE], &given[ABSENT], &given[UNSET], &salt, &reads, &is_filtered))
        return -1;
    if (finder->objects[ROOT]) {
        PyErr_SetString(PyExc_TypeError, "a finder is made once");
        return -1;
    }
    for (int at = 0; at < OBJECTS; at++)
        finder->objects[at] = Py_NewRef(given[at]);
    finder->salt = (uint32_t)salt;
    finder->reads = (char)reads;
    finder->is_filtered = (char)is_filtered;
    return 0;
}

HOLDS_OBJECTS(Finder)

static PyMethodDef methods[] = {
    {"find", find, METH_O, "Return what the table says of a key; UNSET if that takes more."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"filtered_reads", T_LONGLONG, offsetof(Finder, filtered_reads), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

int add_finder_type(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_doc, "Finds single keys of a table."}, {Py_tp_methods, methods}, {Py_tp_members, members},
        {Py_tp_init, (void *)initialise}, {Py_tp_traverse, (void *)traverse}, {Py_tp_clear, (void *)clear},
        {Py_tp_dealloc, (void *)deallocate}, {0, NULL},
    };
    static PyType_Spec spec = {
        "journalkit._speed.Finder", sizeof(Finder), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots,
    };
    static const struct { PyObject **name; const char *text; } names[] = {
        {&name.firsts, "firsts"}, {&name.lasts, "lasts"}, {&name.offsets, "offsets"}, {&name.lengths, "lengths"},
        {&name.entry_counts, "entry_counts"}, {&name.starts, "starts"}, {&name.level, "level"}, {&name.block, "block"},
        {&name.read_since, "read_since"}, {&name.hits, "hits"}, {&name.file, "file"}, {&name.read_at, "read_at"},
        {&name.wants, "wants"}, {&name.put, "put"},
    };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (!(*names[at].name = PyUnicode_InternFromString(names[at].text)))
            return -1;
    PyObject *type = PyType_FromSpec(&spec);
    int failed = type ? PyModule_AddObjectRef(module, "Finder", type) : -1;
    Py_XDECREF(type);
    return failed;
}
