/* checkpoint/chunks.py: where bytes are cut by their content. */

#include "native.h"

enum { BYTES_OF_A_WINDOW = 32, NUMBERS = 256 };

static Py_ssize_t find(const unsigned char *data, Py_ssize_t size, const uint32_t *gear, uint32_t mask) {
    uint32_t state = 0;
    Py_ssize_t at = 0;
    for (; at < BYTES_OF_A_WINDOW - 1 && at < size; at++)
        state = (state << 1) + gear[data[at]];
    for (; at < size; at++) {
        state = (state << 1) + gear[data[at]];
        if (!(state & mask))
            return at - BYTES_OF_A_WINDOW + 2;
    }
    return 0;
}

/* gear_place(view, mask, gear): the numbers of the hash come as 1024 bytes, little-endian. */
static PyObject *gear_place(PyObject *twin, PyObject *const *arguments, Py_ssize_t count) {
    Py_buffer view;
    uint32_t gear[NUMBERS];
    unsigned long mask = count == 3 && PyLong_CheckExact(arguments[1]) ? PyLong_AsUnsignedLong(arguments[1]) : 0;
    if (count != 3 || !PyBytes_CheckExact(arguments[2]) || PyBytes_Size(arguments[2]) != sizeof gear
        || PyErr_Occurred() || PyObject_GetBuffer(arguments[0], &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return ask_twin(twin, arguments, count);
    }
    const unsigned char *numbers = (const unsigned char *)PyBytes_AsString(arguments[2]);
    for (int at = 0; at < NUMBERS; at++)
        gear[at] = load32(numbers + 4 * at);
    PyThreadState *state = PyEval_SaveThread();
    Py_ssize_t found = find(view.buf, view.len, gear, (uint32_t)mask);
    PyEval_RestoreThread(state);
    PyBuffer_Release(&view);
    return PyLong_FromSsize_t(found);
}

PyMethodDef chunk_functions[] = {
    {"gear_place", (PyCFunction)(void (*)(void))gear_place, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
