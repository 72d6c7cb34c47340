/* Keys as bytes: twin of `encode_key` in format/keys.py. */

#include "native.h"

enum { ZERO = 0x19, BYTES = 0x30, STR = 0x40, TUPLE = 0x50 };

/* A key that is being encoded: on the stack while it is short, which most are; longer ones are the twin's. */
#define SHORT_BYTES 512

typedef struct {
    unsigned char bytes[SHORT_BYTES];
    size_t size;
} Text;

static bool append(Text *text, unsigned char byte) {
    if (text->size == SHORT_BYTES)
        return false;
    text->bytes[text->size++] = byte;
    return true;
}

/* Eight bytes or fewer, big-endian, the tag telling sign and count. False for a longer integer. */
static bool append_integer(Text *text, PyObject *key) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (overflow)
        return false;
    /* Without a branch for the smallest one, whose magnitude has no positive twin. */
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int size = 0;
    for (uint64_t rest = magnitude; rest; rest >>= 8)
        size++;
    if (text->size + 1 + (size_t)size > SHORT_BYTES)
        return false;
    text->bytes[text->size++] = (unsigned char)(value < 0 ? ZERO - size : ZERO + size);
    uint64_t written = value < 0 ? ~magnitude : magnitude;
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
        text->bytes[text->size++] = (unsigned char)(written >> shift);
    return true;
}

/* A string inside a tuple: a zero is escaped, a zero ends it. */
static bool append_string(Text *text, unsigned char tag, const char *string, Py_ssize_t size) {
    if (!append(text, tag))
        return false;
    for (Py_ssize_t at = 0; at < size; at++)
        if (!append(text, (unsigned char)string[at]) || (!string[at] && !append(text, 0xFF)))
            return false;
    return append(text, 0);
}

/* False, maybe with an exception that its caller clears, for whatever the twin has to look at. */
static bool append_element(Text *text, PyObject *key, int depth) {
    if (PyUnicode_CheckExact(key)) {
        Py_ssize_t size;
        const char *string = PyUnicode_AsUTF8AndSize(key, &size);
        return string && append_string(text, STR, string, size);
    }
    if (PyBytes_CheckExact(key))
        return append_string(text, BYTES, PyBytes_AsString(key), PyBytes_Size(key));
    if (PyLong_CheckExact(key))
        return append_integer(text, key);
    if (!PyTuple_CheckExact(key) || depth == KEY_DEPTH_MAX || !append(text, TUPLE))
        return false;
    for (Py_ssize_t at = 0, count = PyTuple_Size(key); at < count; at++)
        if (!append_element(text, PyTuple_GetItem(key, at), depth + 1))
            return false;
    return depth ? append(text, 0) : true;
}

static PyObject *tagged(unsigned char tag, const char *string, Py_ssize_t size) {
    if (size >= KEY_BYTES_MAX)
        return NULL;
    PyObject *made = PyBytes_FromStringAndSize(NULL, size + 1);
    if (made) {
        char *to = PyBytes_AsString(made);
        to[0] = (char)tag;
        memcpy(to + 1, string, (size_t)size);
    }
    return made;
}

PyObject *key_as_bytes(PyObject *key) {
    if (PyUnicode_CheckExact(key)) {
        Py_ssize_t size;
        const char *string = PyUnicode_AsUTF8AndSize(key, &size);
        if (string)
            return tagged(STR, string, size);
    } else if (PyBytes_CheckExact(key)) {
        return tagged(BYTES, PyBytes_AsString(key), PyBytes_Size(key));
    } else {
        Text text;
        text.size = 0;
        if (append_element(&text, key, 0))
            return PyBytes_FromStringAndSize((char *)text.bytes, (Py_ssize_t)text.size);
    }
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
    return NULL;
}

static PyObject *encode_key(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *made = count == 1 ? key_as_bytes(arguments[0]) : NULL;
    return made || PyErr_Occurred() ? made : ask_twin(twin, arguments, count);
}

PyMethodDef key_functions[] = {
    {"encode_key", (PyCFunction)(void (*)(void))encode_key, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
