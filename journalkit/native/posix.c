/* What fs/posix.py hands out: `os.pwrite` and `os.fdatasync` bound to a descriptor, and known to the lane. */

#include "native.h"

#include <errno.h>
#include <unistd.h>

/* Again after a signal, whose handler has to wait: an interrupted call took no byte, and a file never waits for long. */
static ssize_t write_at(int descriptor, const void *data, size_t size, int64_t offset_bytes) {
    ssize_t taken;
    do
        taken = pwrite(descriptor, data, size, (off_t)offset_bytes);
    while (taken < 0 && errno == EINTR);
    return taken;
}

static int sync_data_of(int descriptor) {
    int outcome;
    do
#ifdef __linux__
        outcome = fdatasync(descriptor);
#else
        outcome = fsync(descriptor);
#endif
    while (outcome < 0 && errno == EINTR);
    return outcome < 0 ? errno : 0;
}

Written write_record(const Write *write, int descriptor, int slot_descriptor) {
    Written outcome = {0, 0, 0, 0};
    PyThreadState *state = PyEval_SaveThread();
    outcome.taken = write_at(descriptor, write->data, write->size, write->offset_bytes);
    outcome.write_errno = outcome.taken < 0 ? errno : 0;
    if (write->slot && outcome.taken == (ssize_t)write->size) {
        outcome.sync_errno = sync_data_of(descriptor);
        /* A short one is torn, and promises nothing. */
        if (!outcome.sync_errno && write_at(slot_descriptor, write->slot, SLOT_BYTES, 0) < 0)
            outcome.slot_errno = errno;
    }
    PyEval_RestoreThread(state);
    return outcome;
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
    Written outcome = write_record(
        &(Write){.data = data.buf, .size = (size_t)data.len, .offset_bytes = offset_bytes}, number, -1
    );
    PyBuffer_Release(&data);
    errno = outcome.write_errno;
    return outcome.taken < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromSsize_t(outcome.taken);
}

/* sync_data(), bound likewise. */
static PyObject *bound_sync_data(PyObject *descriptor, PyObject *Py_UNUSED(nothing)) {
    int number = PyLong_AsLong(descriptor) < 0 ? -1 : (int)PyLong_AsLong(descriptor);
    if (PyErr_Occurred())
        return NULL;
    PyThreadState *state = PyEval_SaveThread();
    int error = sync_data_of(number);
    PyEval_RestoreThread(state);
    errno = error;
    return error ? PyErr_SetFromErrno(PyExc_OSError) : Py_NewRef(Py_None);
}

bool read_whole(int descriptor, void *to, size_t size, int64_t offset_bytes) {
    PyThreadState *state = PyEval_SaveThread();
    ssize_t taken;
    do
        taken = pread(descriptor, to, size, (off_t)offset_bytes);
    while (taken < 0 && errno == EINTR);
    PyEval_RestoreThread(state);
    return taken == (ssize_t)size;
}

/* read_at(count_bytes, offset_bytes), bound likewise: `os.pread`. */
static PyObject *bound_read_at(PyObject *descriptor, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "read_at takes a count and an offset");
        return NULL;
    }
    PyObject *os = PyImport_ImportModule("os"), *read = NULL;
    if (os)
        read = PyObject_CallMethod(os, "pread", "OOO", descriptor, arguments[0], arguments[1]);
    Py_XDECREF(os);
    return read;
}

static PyMethodDef
    read_at_definition = {"read_at", (PyCFunction)(void (*)(void))bound_read_at, METH_FASTCALL, NULL},
    pwrite_definition = {"pwrite", (PyCFunction)(void (*)(void))bound_pwrite, METH_FASTCALL, NULL},
    sync_data_definition = {"sync_data", bound_sync_data, METH_NOARGS, NULL};

static PyObject *bound_to(PyObject *function, const PyMethodDef *definition) {
    if (!PyCFunction_CheckExact(function) || PyCFunction_GetFunction(function) != definition->ml_meth)
        return NULL;
    return PyCFunction_GetSelf(function);
}

PyObject *written_to_by(PyObject *pwrite) { return bound_to(pwrite, &pwrite_definition); }

PyObject *read_by(PyObject *read_at) { return bound_to(read_at, &read_at_definition); }

PyObject *synced_by(PyObject *sync_data) { return bound_to(sync_data, &sync_data_definition); }

static PyObject *bind_to(PyObject *descriptor, PyMethodDef *definition) {
    if (!PyLong_Check(descriptor)) {
        PyErr_SetString(PyExc_TypeError, "a descriptor is a number");
        return NULL;
    }
    return PyCFunction_NewEx(definition, descriptor, NULL);
}

static PyObject *bind_pwrite(PyObject *Py_UNUSED(module), PyObject *descriptor) {
    return bind_to(descriptor, &pwrite_definition);
}

static PyObject *bind_read_at(PyObject *Py_UNUSED(module), PyObject *descriptor) {
    return bind_to(descriptor, &read_at_definition);
}

static PyObject *bind_sync_data(PyObject *Py_UNUSED(module), PyObject *descriptor) {
    return bind_to(descriptor, &sync_data_definition);
}

PyMethodDef posix_functions[] = {
    {"bind_pwrite", bind_pwrite, METH_O, "Return `os.pwrite` for one descriptor, which it keeps."},
    {"bind_read_at", bind_read_at, METH_O, "Return `os.pread` for one descriptor, which it keeps."},
    {"bind_sync_data", bind_sync_data, METH_O, "Return `os.fdatasync` for one descriptor, which it keeps."},
    {NULL, NULL, 0, NULL},
};
