/* Values as CBOR: twin of `encode_plain` in format/codec.py, for what most values are made of. */

#include "native.h"

enum { UNSIGNED = 0x00, NEGATIVE = 0x20, BYTES = 0x40, TEXT = 0x60, ARRAY = 0x80, MAP = 0xA0, FALSE = 0xF4, TRUE = 0xF5,
       NONE = 0xF6, DOUBLE = 0xFB };

/* What is written so far: on the stack while it is short. */
#define SHORT_BYTES 1024

typedef struct {
    unsigned char *bytes;
    size_t size, room;
    unsigned char first[SHORT_BYTES];
} Text;

/* What came of it: written, for the twin to look at, or an exception. */
typedef enum { WRITTEN, UNLIKE, RAISED } Outcome;

static unsigned char *take(Text *text, size_t more) {
    if (more > text->room - text->size) {
        size_t room = 2 * text->room > text->size + more ? 2 * text->room : text->size + more;
        bool is_first = text->bytes == text->first;
        unsigned char *grown = room > PY_SSIZE_T_MAX ? NULL : PyMem_Realloc(is_first ? NULL : text->bytes, room);
        if (!grown) {
            PyErr_NoMemory();
            return NULL;
        }
        if (is_first)
            memcpy(grown, text->first, text->size);
        text->bytes = grown;
        text->room = room;
    }
    text->size += more;
    return text->bytes + text->size - more;
}

/* A head says kind and number, in the fewest bytes. */
static Outcome head(Text *text, unsigned kind, uint64_t number) {
    int size = number < 24 ? 0 : number <= 0xFF ? 1 : number <= 0xFFFF ? 2 : number <= 0xFFFFFFFFu ? 4 : 8;
    unsigned char *at = take(text, 1 + (size_t)size);
    if (!at)
        return RAISED;
    at[0] = (unsigned char)(kind | (size == 0 ? number : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27));
    for (; size; size--, number >>= 8)
        at[size] = (unsigned char)number;
    return WRITTEN;
}

static Outcome string(Text *text, unsigned kind, const char *bytes, Py_ssize_t size) {
    if (head(text, kind, (uint64_t)size) != WRITTEN)
        return RAISED;
    unsigned char *at = take(text, (size_t)size);
    if (!at)
        return RAISED;
    memcpy(at, bytes, (size_t)size);
    return WRITTEN;
}

static Outcome constant(Text *text, unsigned char byte) {
    unsigned char *at = take(text, 1);
    if (!at)
        return RAISED;
    *at = byte;
    return WRITTEN;
}

static Outcome integer(Text *text, PyObject *value) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow)
        return UNLIKE;
    return number < 0 ? head(text, NEGATIVE, ~(uint64_t)number) : head(text, UNSIGNED, (uint64_t)number);
}

static Outcome real(Text *text, PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number - number != 0) /* infinite or not a number: they have a form of their own */
        return UNLIKE;
    unsigned char *at = take(text, 9);
    if (!at)
        return RAISED;
    uint64_t bits;
    memcpy(&bits, &number, 8);
    at[0] = DOUBLE;
    for (int byte = 8; byte; byte--, bits >>= 8)
        at[byte] = (unsigned char)bits;
    return WRITTEN;
}

static Outcome text_of(Text *text, PyObject *value) {
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(value, &size);
    if (bytes)
        return string(text, TEXT, bytes, size);
    if (PyErr_ExceptionMatches(PyExc_MemoryError))
        return RAISED;
    PyErr_Clear(); /* a lone surrogate, which the twin refuses by its place */
    return UNLIKE;
}

static Outcome scalar(Text *text, PyObject *value) {
    if (PyUnicode_CheckExact(value))
        return text_of(text, value);
    if (PyLong_CheckExact(value))
        return integer(text, value);
    if (PyBytes_CheckExact(value))
        return string(text, BYTES, PyBytes_AsString(value), PyBytes_Size(value));
    if (PyFloat_CheckExact(value))
        return real(text, value);
    if (value == Py_None)
        return constant(text, NONE);
    if (PyBool_Check(value))
        return constant(text, value == Py_True ? TRUE : FALSE);
    return UNLIKE;
}

/* Nothing here runs Python, so nobody changes a container meanwhile. */
static Outcome item(Text *text, PyObject *value, int depth) {
    bool is_dict = PyDict_CheckExact(value);
    if (!is_dict && !PyList_CheckExact(value))
        return scalar(text, value);
    if (depth > VALUE_DEPTH_MAX)
        return UNLIKE;
    Py_ssize_t count = is_dict ? PyDict_Size(value) : PyList_Size(value), at = 0;
    Outcome outcome = head(text, is_dict ? MAP : ARRAY, (uint64_t)count);
    if (is_dict) {
        PyObject *key, *child;
        while (outcome == WRITTEN && PyDict_Next(value, &at, &key, &child)) {
            outcome = scalar(text, key);
            if (outcome == WRITTEN)
                outcome = item(text, child, depth + 1);
        }
    } else {
        for (; outcome == WRITTEN && at < count; at++)
            outcome = item(text, PyList_GetItem(value, at), depth + 1);
    }
    return outcome;
}

PyObject *value_as_cbor(PyObject *value) {
    Text text;
    text.bytes = text.first;
    text.size = 0;
    text.room = SHORT_BYTES;
    PyObject *made = NULL;
    if (item(&text, value, 1) == WRITTEN)
        made = PyBytes_FromStringAndSize((char *)text.bytes, (Py_ssize_t)text.size);
    if (text.bytes != text.first)
        PyMem_Free(text.bytes);
    return made;
}

static PyObject *encode_plain(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *made = count == 1 ? value_as_cbor(arguments[0]) : NULL;
    return made || PyErr_Occurred() ? made : ask_twin(twin, arguments, count);
}

PyMethodDef cbor_functions[] = {
    {"encode_plain", (PyCFunction)(void (*)(void))encode_plain, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
