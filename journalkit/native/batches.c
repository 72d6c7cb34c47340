/* Batches: twins of `encode_batch`, `encode_items` and `decode_into` in format/batch.py. */

#include "native.h"

/* A pair of exact type, None elsewhere: anything else is the twin's. Borrowed. */
static bool take_pair(PyObject *pair, PyObject **first, PyObject **second) {
    if (!PyTuple_CheckExact(pair) || PyTuple_Size(pair) != 2)
        return false;
    *first = PyTuple_GetItem(pair, 0);
    *second = PyTuple_GetItem(pair, 1);
    return true;
}

/* The bytes that an entry takes; 0 for what the twin has to look at. */
static size_t entry_bytes(PyObject *mutation) {
    PyObject *key, *value;
    if (!take_pair(mutation, &key, &value) || !PyBytes_CheckExact(key) || PyBytes_Size(key) > 0xFFFF)
        return 0;
    if (value == Py_None)
        return ENTRY_HEADER_BYTES + (size_t)PyBytes_Size(key);
    if (!PyBytes_CheckExact(value) || PyBytes_Size(value) > PAYLOAD_BYTES_MAX)
        return 0;
    return ENTRY_HEADER_BYTES + (size_t)PyBytes_Size(key) + (size_t)PyBytes_Size(value);
}

/* encode_batch(mutations). No other thread runs between the two passes. */
static PyObject *encode_batch(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 1 || !PyList_CheckExact(arguments[0]))
        return ask_twin(twin, arguments, count);
    PyObject *mutations = arguments[0];
    Py_ssize_t entries = PyList_Size(mutations);
    size_t size = 0;
    for (Py_ssize_t at = 0; at < entries; at++) {
        size_t taken = entry_bytes(PyList_GetItem(mutations, at));
        if (!taken)
            return ask_twin(twin, arguments, count);
        size += taken;
    }
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!payload)
        return NULL;
    unsigned char *to = (unsigned char *)PyBytes_AsString(payload);
    for (Py_ssize_t at = 0; at < entries; at++) {
        PyObject *key = NULL, *value = NULL;
        take_pair(PyList_GetItem(mutations, at), &key, &value);
        size_t key_bytes = (size_t)PyBytes_Size(key), value_bytes = 0;
        store16(to, (uint16_t)key_bytes);
        store32(to + 2, TOMBSTONE);
        memcpy(to + ENTRY_HEADER_BYTES, PyBytes_AsString(key), key_bytes);
        if (value != Py_None) {
            value_bytes = (size_t)PyBytes_Size(value);
            store32(to + 2, (uint32_t)value_bytes);
            memcpy(to + ENTRY_HEADER_BYTES + key_bytes, PyBytes_AsString(value), value_bytes);
        }
        to += ENTRY_HEADER_BYTES + key_bytes + value_bytes;
    }
    return payload;
}

/* encode_items(items, codec). Encoding runs Python, which may change the list. */
static PyObject *encode_items(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyList_CheckExact(arguments[0]))
        return ask_twin(twin, arguments, count);
    PyObject *items = arguments[0], *encode = PyObject_GetAttrString(arguments[1], "encode");
    PyObject *mutations = encode ? PyList_New(0) : NULL;
    Form form = form_of(arguments[1]);
    for (Py_ssize_t at = 0; mutations && at < PyList_Size(items); at++) {
        PyObject *item = Py_NewRef(PyList_GetItem(items, at)), *key, *value, *mutation = NULL;
        PyObject *encoded_key = take_pair(item, &key, &value) ? key_as_bytes(key) : NULL;
        if (!encoded_key && !PyErr_Occurred()) {
            Py_DECREF(item);
            Py_DECREF(encode);
            Py_DECREF(mutations);
            return ask_twin(twin, arguments, count);
        }
        PyObject *encoded = encoded_key ? value_as_bytes(form, encode, value) : NULL;
        if (encoded)
            mutation = PyTuple_Pack(2, encoded_key, encoded);
        if (!mutation || PyList_Append(mutations, mutation) < 0)
            Py_CLEAR(mutations);
        Py_XDECREF(mutation);
        Py_XDECREF(encoded);
        Py_XDECREF(encoded_key);
        Py_DECREF(item);
    }
    Py_XDECREF(encode);
    return mutations;
}

int fold_batch(const unsigned char *payload, size_t size, PyObject *entries) {
    size_t position = 0;
    while (position < size) {
        if (size - position < ENTRY_HEADER_BYTES)
            return 0;
        size_t key_bytes = load16(payload + position), value_bytes = load32(payload + position + 2);
        bool is_deletion = value_bytes == TOMBSTONE;
        if (is_deletion)
            value_bytes = 0;
        size_t room = size - position - ENTRY_HEADER_BYTES;
        if (key_bytes == 0 || key_bytes > KEY_BYTES_MAX || key_bytes > room || value_bytes > room - key_bytes)
            return 0;
        const char *at = (const char *)payload + position + ENTRY_HEADER_BYTES;
        PyObject *key = PyBytes_FromStringAndSize(at, (Py_ssize_t)key_bytes), *value = NULL;
        if (key)
            value = is_deletion ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize(at + key_bytes, (Py_ssize_t)value_bytes);
        int failed = value ? PyDict_SetItem(entries, key, value) : -1;
        Py_XDECREF(value);
        Py_XDECREF(key);
        if (failed)
            return -1;
        position += ENTRY_HEADER_BYTES + key_bytes + value_bytes;
    }
    return 1;
}

/* decode_into(payload, entries): what isn't a batch is decoded again by the twin, which says why. */
static PyObject *decode_into(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyBytes_CheckExact(arguments[0]) || !PyDict_CheckExact(arguments[1]))
        return ask_twin(twin, arguments, count);
    const unsigned char *payload = (const unsigned char *)PyBytes_AsString(arguments[0]);
    int is_batch = fold_batch(payload, (size_t)PyBytes_Size(arguments[0]), arguments[1]);
    if (is_batch > 0)
        return Py_NewRef(Py_None);
    return is_batch < 0 ? NULL : ask_twin(twin, arguments, count);
}

PyMethodDef batch_functions[] = {
    {"encode_batch", (PyCFunction)(void (*)(void))encode_batch, METH_FASTCALL, NULL},
    {"encode_items", (PyCFunction)(void (*)(void))encode_items, METH_FASTCALL, NULL},
    {"decode_into", (PyCFunction)(void (*)(void))decode_into, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
