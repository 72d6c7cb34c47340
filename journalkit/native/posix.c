/* The write that fs/posix.py hands out: `os.pwrite` bound to a descriptor, and known to the lane. */

#include "native.h"

#include <errno.h>
#include <unistd.h>

ssize_t write_at(int descriptor, const void *data, size_t size, int64_t offset_bytes) {
    ssize_t taken;
    PyThreadState *state = PyEval_SaveThread();
    do
        taken = pwrite(descriptor, data, size, (off_t)offset_bytes);
    while (taken < 0 && errno == EINTR); /* Before a byte was taken; a file never waits for long in that state. */
    int error = errno;
    PyEval_RestoreThread(state);
    errno = error;
    return taken;
}

/* pwrite(data, offset_bytes), bound to a descriptor: a number that is closed when nothing refers to it any more. */
static PyObject *bound_pwrite(PyObject *descriptor, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "pwrite takes data and an offset");
        return NULL;
    }
    int number = PyLong_AsLong(descriptor) < 0 ? -1 : (int)PyLong_AsLong(descriptor);
    long long offset_bytes = PyLong_AsLongLong(arguments[1]);
    Py_buffer data;
    if (PyErr_Occurred() || PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    ssize_t taken = write_at(number, data.buf, (size_t)data.len, offset_bytes);
    PyBuffer_Release(&data);
    return taken < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(taken);
}

static PyMethodDef pwrite_definition = {"pwrite", (PyCFunction)(void (*)(void))bound_pwrite, METH_FASTCALL, NULL};

PyObject *descriptor_behind(PyObject *function) {
    if (!PyCFunction_CheckExact(function)
        || PyCFunction_GetFunction(function) != (PyCFunction)(void (*)(void))bound_pwrite)
        return NULL;
    return PyCFunction_GetSelf(function);
}

static PyObject *bind_pwrite(PyObject *Py_UNUSED(module), PyObject *descriptor) {
    if (!PyLong_Check(descriptor)) {
        PyErr_SetString(PyExc_TypeError, "a descriptor is a number");
        return NULL;
    }
    return PyCFunction_NewEx(&pwrite_definition, descriptor, NULL);
}

PyMethodDef posix_functions[] = {
    {"bind_pwrite", bind_pwrite, METH_O, "Return `os.pwrite` for one descriptor, which it keeps."},
    {NULL, NULL, 0, NULL},
};
